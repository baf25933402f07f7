"""How does somebody without our tool check a dossier?

The texts of VERIFY.txt and verify.py. They depend on nothing but this version, so `verify` can tell changed ones. Both
are executed by tests, against genuine and forged dossiers.
"""

import hashlib
from functools import cache
from importlib import resources

from reversible import __version__, clauses
from reversible.evidence import judging

NAME, PROGRAM = "VERIFY.txt", "verify.py"
TOOL = f"reversible-toolkit {__version__}"

COMMANDS = r"""(
set -euo pipefail
T=$(mktemp -d); B=seal/evidence.sigstore.json
test -z "$(find . ! -type f ! -type d)"
test "$(find seal | LC_ALL=C sort | tr '\n' ' ')" = "seal seal/evidence.sigstore.json seal/signer.pub.pem "
sha256sum --quiet --strict -c tagmanifest-sha256.txt manifest-sha256.txt
diff <(find . -type f ! -path './seal/*' ! -path ./tagmanifest-sha256.txt | cut -c3- | LC_ALL=C sort) \
     <(cut -c67- tagmanifest-sha256.txt manifest-sha256.txt | LC_ALL=C sort)
test "$(openssl pkey -pubin -in seal/signer.pub.pem -outform DER | sha256sum | cut -c1-64)" = "$PINNED"
jq -e '.dsseEnvelope | (.signatures | length) == 1 and .payloadType == "application/vnd.in-toto+json"' $B >$T/ok
jq -er .dsseEnvelope.payload $B | base64 -d >$T/statement
jq -er '.dsseEnvelope.signatures[0].sig' $B | base64 -d >$T/signature
{ printf 'DSSEv1 28 application/vnd.in-toto+json %d ' "$(wc -c <$T/statement)"; cat $T/statement; } >$T/signed
openssl dgst -sha256 -verify seal/signer.pub.pem -signature $T/signature $T/signed
jq -e '._type == "https://in-toto.io/Statement/v1" and (.subject | length) == 1
   and .predicateType == "https://in-toto.io/attestation/test-result/v0.1"' $T/statement >$T/ok
jq -er '.subject[0].digest.sha256 + "  tagmanifest-sha256.txt"' $T/statement | sha256sum --strict -c -
jq -er '.predicate.reversible | .plan_sha256 + "  data/plan.json", .run_sha256 + "  data/run.json",
   .results_sha256 + "  data/results.jsonl", .verdicts_sha256 + "  data/verdicts.json"' $T/statement |
   sha256sum --strict -c -
jq -e --slurpfile v data/verdicts.json \
   '[$v[0].clauses[] | select(.verdict == "FAILED").id] - .predicate.failedTests == []' $T/statement >$T/ok
if test -n "${TSA-}"; then
  jq -er '.verificationMaterial.timestampVerificationData.rfc3161Timestamps[0].signedTimestamp' $B | base64 -d >$T/token
  openssl ts -reply -in $T/token -text 2>$T/ok | sed -n 's/^Time stamp: //p' >$T/time
  openssl ts -verify -in $T/token -data $T/signature -CAfile "$TSA" -attime "$(date -u -d "$(cat $T/time)" +%s)"
  echo "TIME PROVED $(cat $T/time)"
else echo "TIME CLAIMED $(jq -r .predicate.reversible.sealed_at $T/statement)"; fi
jq '.predicate | {result, failedTests, reversible}' $T/statement
echo GENUINE
)
"""

TEXT = (
    """\
FRANÇAIS

Comment vérifier ce dossier sans notre outil, hors ligne, avec bash, sha256sum, jq et openssl.
1. Demandez à celui qui a signé l'empreinte de sa clé par une autre voie que ce dossier (appel, courrier) : 64
   chiffres hexadécimaux. Une clé trouvée dans le dossier ne prouve rien par elle-même.
2. Ne lancez aucun fichier de ce dossier comme un programme ; lisez les commandes, puis tapez-les ou collez-les dans
   bash, depuis le répertoire qui contient ce fichier, après : PINNED=l'empreinte, sans espaces.
3. Le dossier est celui qui a été scellé si la dernière ligne affichée est GENUINE. Sinon, il est à refuser.
4. L'heure n'est qu'affirmée (TIME CLAIMED), sauf si une autorité d'horodatage l'a prouvée : mettez avant les commandes
   TSA=le fichier PEM de son certificat racine, obtenu d'elle ; TIME PROVED est alors affiché.
Ce que cela ne dit pas : des mesures inventées avant le scellé ne se voient à aucune signature.
`reversible evidence verify . --key EMPREINTE` refait en plus les verdicts à partir des mesures, et les rapports à
partir des données. `verify.py` en fait autant, sauf les rapports, en un seul fichier qui se lit en une heure : lisez-le
avant de le lancer, ou prenez-le de l'outil (`reversible evidence verifier`), car celui-ci vient de qui a signé.

ENGLISH

How to check this dossier without our tool, offline, with bash, sha256sum, jq and openssl.
1. Ask the signer for the fingerprint of the key by another way than this dossier (a call, a letter): 64 hexadecimal
   digits. A key found in the dossier proves nothing by itself.
2. Run no file of this dossier as a program; read the commands, then type or paste them into bash, in the directory
   that holds this file, after: PINNED=the fingerprint, without spaces.
3. The dossier is the one that was sealed if the last line shown is GENUINE. If it is not, refuse it.
4. The time is a claim only (TIME CLAIMED), unless a time-stamping authority proved it: before the commands, set
   TSA=the PEM file of its root certificate, that you have from the authority; TIME PROVED is shown then.
What this does not say: results made up before the seal show in no signature.
`reversible evidence verify . --key FINGERPRINT` also judges again from the measurements, and renders the reports again
from the data. `verify.py` does as much, but for the reports, in one file that is read in an hour: read it before you
run it, or take it from the tool (`reversible evidence verifier`), for this one comes from the signer.

"""
    + COMMANDS
)


@cache
def program() -> bytes:
    """verify.py, with what this version knows filled in."""
    text = (resources.files("reversible") / "evidence/standalone.py").read_text(encoding="utf-8")
    catalogue = clauses.load()
    known = {
        "TOOL": TOOL,
        "CATALOGUE_SHA256": catalogue.sha256,
        "CLAUSES_SHA256": hashlib.sha256(judging.of(catalogue.content)).hexdigest(),
        "VERIFY_TXT_SHA256": hashlib.sha256(TEXT.encode()).hexdigest(),
    }
    for name, value in known.items():
        text = text.replace(f'{name} = "@{name}@"', f'{name} = "{value}"')
    return text.encode()
