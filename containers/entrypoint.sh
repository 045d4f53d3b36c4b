#!/bin/sh
# Predict what lies in /input and write the results to /output: NIfTI cases, or DICOM studies where there is no NIfTI.
# Other words are options of the command: docker run ... monai-isles --fast --threads 4
set -eu
input="${ISLES_INPUT:-/input}"
output="${ISLES_OUTPUT:-/output}"
bundle="${ISLES_BUNDLE:-clerigues}"

if [ -n "$(find "$input" \( -name '*.nii' -o -name '*.nii.gz' \) -print | head -n 1)" ]; then
    exec monai-isles predict "$input" --bundle "$bundle" --out "$output" "$@"
fi
exec monai-isles predict-series "$input" --bundle "$bundle" --out "$output" "$@"
