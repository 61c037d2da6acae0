"""Training jobs and endpoints of SageMaker."""
