#!/usr/bin/env bash
# Starts JupyterLab in the lab's folder on the volume; lays the image's copy of the lab there on the first start only.
set -euo pipefail
from="${LAB_IMAGE_COPY:-/opt/lab}"
home="${LAB_HOME:-$HOME/model-adaptation-lab}"
if [ ! -e "$home/config.py" ]; then
  # Copied beside its place and moved there, so that a pod that dies here leaves no half-laid lab.
  part="$(mktemp -d "$(dirname "$home")/.model-adaptation-lab.XXXXXX")"
  cp -r "$from/." "$part/"
  chmod g=u "$part"  # mktemp's folder is its owner's alone; a later pod may come with another user id of group 0
  if [ -e "$home" ]; then
    echo "$home exists but holds no lab: move it away, and start the workbench again." >&2
    rm -rf "$part"
    exit 2
  fi
  mv "$part" "$home"
fi
cd "$home"
# The login proxy in front of the workbench checks who comes in, so Jupyter's own token would only be in the way.
exec "${LAB_JUPYTER:-/opt/venv/bin/jupyter}" lab --ip="${LAB_IP:-0.0.0.0}" --port="${LAB_PORT:-8888}" --no-browser \
  --ServerApp.root_dir="$home" --ServerApp.base_url="${NB_PREFIX:-/}" \
  --ServerApp.quit_button=False --IdentityProvider.token="" --ServerApp.password=""
