"""The parts of the demo bundle's build; ``scripts/build_demo_bundle.py`` joins them."""
