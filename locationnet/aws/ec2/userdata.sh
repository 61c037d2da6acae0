#!/bin/bash
# Written by `locationnet ec2 train`; a machine runs it once, as root, when it first starts.
# It installs the package that the launch put into S3, trains, and shuts the machine down, which
# terminates it, however it ends. The variables LOCATIONNET_ROOT, LOCATIONNET_PER_BOOT,
# LOCATIONNET_SHUTDOWN and LOCATIONNET_UPTIME are for trying it out elsewhere.
set -euo pipefail
umask 077
root=${LOCATIONNET_ROOT:-/opt/locationnet}
per_boot=${LOCATIONNET_PER_BOOT:-/var/lib/cloud/scripts/per-boot}
shutdown=${LOCATIONNET_SHUTDOWN:-shutdown}
# Seconds since the boot: from there on the machine costs.
uptime=${LOCATIONNET_UPTIME:-$(cut -d. -f1 /proc/uptime)}
export HOME=${HOME:-/root}
mkdir -p "$root"
cd "$root"

finish() {
    code=$?
    trap - EXIT TERM
    echo "locationnet: ending with code $code"
    $shutdown -h now
}
trap finish EXIT
# Whatever hangs, the machine does not outlive its time by more than a quarter of an hour.
$shutdown -h "+$((@MINUTES@ - uptime / 60))"
# After a reboot this script does not run again, and nothing else would end the machine.
boot=/proc/sys/kernel/random/boot_id
mkdir -p "$per_boot"
cat > "$per_boot/locationnet" <<BOOT
#!/bin/sh
[ "\$(cat $boot)" = "$(cat $boot)" ] || $shutdown -h now
BOOT
chmod 755 "$per_boot/locationnet"

cat > job.json <<'JOB'
@JOB@
JOB

if ! command -v uv > /dev/null; then
    python3 -m pip install --quiet --target tools 'uv==@UV@'
    PATH=$root/tools/bin:$PATH
fi
uv run --quiet --no-project --python '@PYTHON@' --with 'boto3==@BOTO3@' python - <<'PYTHON'
import pathlib, boto3

region, bucket, prefix = @PACKAGE@
s3 = boto3.client("s3", region_name=region)
pathlib.Path("package").mkdir(exist_ok=True)
for entry in s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]:
    s3.download_file(bucket, entry["Key"], "package/" + entry["Key"].removeprefix(prefix))
PYTHON
[ -x venv/bin/python ] || uv venv --quiet --python '@PYTHON@' venv
uv pip install --quiet --python venv/bin/python --require-hashes -r package/requirements.txt
uv pip install --quiet --python venv/bin/python --no-deps package/locationnet-*.whl

venv/bin/locationnet ec2 work job.json --folder "$root" --spent $((uptime + SECONDS)) &
worker=$!
trap 'kill -TERM "$worker"' TERM
code=0
while kill -0 "$worker" 2> /dev/null; do
    wait "$worker" && code=0 || code=$?
done
exit "$code"
