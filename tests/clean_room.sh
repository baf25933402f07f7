#!/bin/sh
# Installs the default distribution from its wheel in an empty environment, shows that no vendor package came with
# it, and verifies the demo's bundle and evidence there. Usage: DEMO=reversible-demo sh tests/clean_room.sh
set -eu
demo=${DEMO:-reversible-demo}
[ -d "$demo/run/bundle" ] || { echo "no bundle in $demo: type 'make demo' first" >&2; exit 2; }
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
"${PYTHON:-python3}" -m venv "$room/build"
"$room/build/bin/pip" install --quiet build
"$room/build/bin/python" -m build --quiet --wheel --outdir "$room/dist" .
"${PYTHON:-python3}" -m venv "$room/venv"
"$room/venv/bin/pip" install --quiet "$room"/dist/*.whl
"$room/venv/bin/pip" list --format=freeze > "$room/installed"
if grep -iE '^(boto3|botocore|torch|psycopg|scikit-learn|skl2onnx|onnxscript|joblib|tensorflow|google-cloud|azure)' "$room/installed"; then
    echo "clean room: a vendor package came with the default install" >&2
    exit 1
fi
cp -r "$demo/run/bundle" "$demo/run/evidence" "$room/"
cd "$room"
key=$(openssl pkey -pubin -in evidence/seal/signer.pub.pem -outform DER | openssl dgst -sha256 -r | cut -c1-64)
env -i PATH="$PATH" HOME="$room" LANG=C.UTF-8 venv/bin/reversible verify bundle
env -i PATH="$PATH" HOME="$room" LANG=C.UTF-8 venv/bin/reversible evidence verify evidence --key "$key"
echo "clean room: $(wc -l < installed) packages, none of a vendor; bundle and evidence verified"
