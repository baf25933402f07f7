"""How is a trial said in French? English sentences are the keys; `test_storage_doctor` finds one that is missing."""

from reversible.storage_doctor.bench import Trial
from reversible.storage_doctor.doctor import CLEAN, OPERATIONS

OUTCOMES = {
    "en": {"works": "works", "refused": "refused", "lies": "LIES", "not tried": "not tried"},
    "fr": {"works": "marche", "refused": "refusé", "lies": "MENT", "not tried": "non essayé"},
}
_TITLES = {one.id: one.title for one in (*OPERATIONS, CLEAN)}
FRENCH = {
    # --- operations
    "an object is put and read back": "un objet est déposé et relu",
    "size and date of an object": "taille et date d'un objet",
    "an object is replaced and read back": "un objet est remplacé et relu",
    "an object without bytes": "un objet sans octets",
    "an object of 6 MB in one piece": "un objet de 6 Mo d'un seul tenant",
    "a part of an object is read": "une partie d'un objet est lue",
    "an object is read only if it changed, or only if it did not":
        "un objet n'est lu que s'il a changé, ou que s'il n'a pas changé",
    "a key that is not there is said so": "une clé absente est dite absente",
    "a deleted object is gone": "un objet supprimé n'est plus là",
    "several objects are deleted at once": "plusieurs objets sont supprimés à la fois",
    "an object is copied at the server": "un objet est copié sur le serveur",
    "a copy is given other metadata": "une copie reçoit d'autres métadonnées",
    "accents, composed and decomposed, are two names": "accents composés et décomposés font deux noms",
    "characters of four bytes": "caractères de quatre octets",
    "spaces, also at both ends": "espaces, aussi aux deux bouts",
    "percent, plus and what they stand for elsewhere": "pour cent, plus et ce qu'ils veulent dire ailleurs",
    "punctuation of URLs and XML": "ponctuation des URL et du XML",
    "capitals are other letters": "les majuscules sont d'autres lettres",
    "a name that ends with a slash, beside what lies below it":
        "un nom qui finit par une barre, à côté de ce qu'il contient",
    "empty parts between slashes": "parties vides entre barres",
    "parts that are dots": "parties faites de points",
    "line breaks and tabs": "sauts de ligne et tabulations",
    "a name of 1,024 bytes, in parts of up to 100": "un nom de 1 024 octets, par parties de 100 au plus",
    "a name of 900 bytes without a slash": "un nom de 900 octets sans barre",
    "a name of 1,025 bytes is refused, not shortened": "un nom de 1 025 octets est refusé, non raccourci",
    "a listing is complete": "une liste est complète",
    "a listing in pages has each name once": "une liste par pages a chaque nom une fois",
    "a listing is sorted by UTF-8 bytes": "une liste est triée par octets UTF-8",
    "a listing of one level shows its folders": "la liste d'un niveau montre ses dossiers",
    "a listing begins after a name": "une liste commence après un nom",
    "an object in parts is put and read back": "un objet en parties est déposé et relu",
    "one part of an object is read back": "une partie d'un objet est relue seule",
    "the parts of an unfinished object are listed": "les parties d'un objet inachevé sont listées",
    "an object that is given up leaves nothing": "un objet abandonné ne laisse rien",
    "a part that is sent again replaces the first": "une partie renvoyée remplace la première",
    "parts that were never sent are refused": "des parties jamais envoyées sont refusées",
    "how many parts an object may have": "combien de parties un objet peut avoir",
    "a part is copied at the server": "une partie est copiée sur le serveur",
    "an object with its Content-MD5": "un objet avec son Content-MD5",
    "a wrong Content-MD5 is refused": "un Content-MD5 faux est refusé",
    "bytes that are not those that were signed are refused": "des octets autres que ceux signés sont refusés",
    "an object's SHA-256 is kept and given back": "le SHA-256 d'un objet est gardé et rendu",
    "a wrong SHA-256 is refused": "un SHA-256 faux est refusé",
    "an object's CRC32 is kept and given back": "le CRC32 d'un objet est gardé et rendu",
    "a wrong CRC32 is refused": "un CRC32 faux est refusé",
    "a checksum after the bytes, as vendors' clients send it since 2025":
        "une somme de contrôle après les octets, comme l'envoient les clients depuis 2025",
    "a wrong checksum after the bytes is refused": "une somme de contrôle fausse après les octets est refusée",
    "an object is put only where none is": "un objet n'est déposé que là où il n'y en a pas",
    "an object is replaced only where it is still the known one":
        "un objet n'est remplacé que s'il est encore celui que l'on connaît",
    "of several that put a new object at once, one succeeds": "de plusieurs dépôts simultanés, un seul réussit",
    "metadata of an object come back": "les métadonnées d'un objet reviennent",
    "metadata whose names have dots and underscores come back":
        "les métadonnées dont le nom a des points et des soulignés reviennent",
    "metadata outside ASCII come back": "les métadonnées hors ASCII reviennent",
    "2,000 bytes of metadata come back": "2 000 octets de métadonnées reviennent",
    "type, encoding, language, name and expiry of an object come back":
        "type, codage, langue, nom et expiration d'un objet reviennent",
    "tags of an object come back": "les étiquettes d'un objet reviennent",
    "tags of an object are taken off": "les étiquettes d'un objet sont enlevées",
    "tags outside ASCII come back": "les étiquettes hors ASCII reviennent",
    "older versions of an object are kept and read back": "les anciennes versions d'un objet sont gardées et relues",
    "a deleted object is hidden, its versions are kept, and it can come back":
        "un objet supprimé est masqué, ses versions sont gardées et il peut revenir",
    "one version is deleted, and the others stay": "une version est supprimée, les autres restent",
    "a locked object can be neither deleted nor replaced nor unlocked by whoever locked it":
        "un objet verrouillé ne peut être ni supprimé, ni remplacé, ni déverrouillé par qui l'a verrouillé",
    "an object on legal hold cannot be deleted until the hold is lifted":
        "un objet sous conservation légale ne peut être supprimé avant qu'elle soit levée",
    "how long the bucket locks what is put into it": "combien de temps le bucket verrouille ce qu'on y dépose",
    "how the bucket encrypts what is put into it": "comment le bucket chiffre ce qu'on y dépose",
    "an object is put encrypted, and the server says so": "un objet est déposé chiffré, et le serveur le dit",
    "an object that is encrypted with our own key is not read without it":
        "un objet chiffré par notre clé ne se lit pas sans elle",
    "what the bucket erases by itself": "ce que le bucket efface de lui-même",
    "a wrong secret key is refused": "une clé secrète fausse est refusée",
    "an unknown access key is refused": "une clé d'accès inconnue est refusée",
    "whoever does not sign is refused": "qui ne signe pas est refusé",
    "a link reads and writes one object without keys": "un lien lit et écrit un objet sans clés",
    "a link that is expired, altered or meant for something else is refused":
        "un lien expiré, altéré ou fait pour autre chose est refusé",
    "whether a request may be signed for another region": "si une requête peut être signée pour une autre région",
    "the server's clock and ours agree": "l'horloge du serveur et la nôtre s'accordent",
    "a request that was signed half an hour ago is refused": "une requête signée il y a une demi-heure est refusée",
    "the bucket in the path of the address": "le bucket dans le chemin de l'adresse",
    "the bucket in the name of the host": "le bucket dans le nom d'hôte",
    "what was put is removed again": "ce qui a été déposé est retiré",
}  # fmt: skip
SAID = {
    "1 folder and 6 objects are there, {below} and {here} are listed":
        "1 dossier et 6 objets sont là, {below} et {here} sont listés",
    "100 bytes were sent, HEAD says {said}": "100 octets ont été envoyés, HEAD dit {said}",
    "3 versions were put, and have {ids} ids": "3 versions ont été déposées, avec {ids} identifiants",
    "3 versions were put, {listed} are listed, newest first":
        "3 versions ont été déposées, {listed} sont listées, la plus récente en tête",
    "4 names should be left out, {left} are": "4 noms devraient manquer, {left} manquent",
    "HEAD gives no Last-Modified": "HEAD ne donne pas de Last-Modified",
    "a deleted object has {markers} delete markers": "un objet supprimé a {markers} marqueurs de suppression",
    "a deleted object is still listed": "un objet supprimé est encore listé",
    "a key of ours would travel without TLS": "une clé à nous voyagerait sans TLS",
    "a key that was never put is answered with 200": "une clé jamais déposée reçoit un 200",
    "a link to read was taken to delete": "un lien de lecture a servi à supprimer",
    "a listing gives other sizes than were sent": "une liste donne d'autres tailles que celles envoyées",
    "a lock was answered with 200, and the object has no version":
        "un verrou a reçu un 200, et l'objet n'a pas de version",
    "a name is listed twice": "un nom est listé deux fois",
    "a request of half an hour ago can be replayed": "une requête d'il y a une demi-heure peut être rejouée",
    "a wrong checksum was answered with 200": "une somme de contrôle fausse a reçu un 200",
    "a wrong checksum was refused, and the bytes were kept all the same":
        "une somme de contrôle fausse a été refusée, et les octets gardés malgré tout",
    "an altered link was answered with 200": "un lien altéré a reçu un 200",
    "an expired link was answered with 200": "un lien expiré a reçu un 200",
    "an object on legal hold could be deleted": "un objet sous conservation légale a pu être supprimé",
    "an object was made of parts that were never sent": "un objet a été fait de parties jamais envoyées",
    "an object was replaced though it was no longer the known one":
        "un objet a été remplacé alors qu'il n'était plus celui que l'on connaissait",
    "an object was replaced though only a new one was asked for":
        "un objet a été remplacé alors que seul un nouveau était demandé",
    "an upload that goes on is not listed": "un envoi en cours n'est pas listé",
    "an upload that was given up could be completed": "un envoi abandonné a pu être achevé",
    "an upload that was given up is still listed": "un envoi abandonné est encore listé",
    "another checksum came back than was sent": "une autre somme de contrôle est revenue que celle envoyée",
    "any region is taken": "toute région est acceptée",
    "bytes whose SHA-256 is not the signed one were answered with 200":
        "des octets dont le SHA-256 n'est pas celui signé ont reçu un 200",
    "in pages of {size}, {listed} names for {put} objects": "par pages de {size}, {listed} noms pour {put} objets",
    "in {rounds} rounds of {writers}": "en {rounds} tours de {writers}",
    "it is refused: {error}": "elle est refusée : {error}",
    "it is still there after it was deleted": "il est encore là après sa suppression",
    "it was answered with 200 that an object on legal hold is deleted":
        "un 200 dit supprimé un objet sous conservation légale",
    "it was answered with 200 that the object is replaced": "un 200 dit l'objet remplacé",
    "it was answered with {status} that the lock is weakened": "un {status} dit le verrou affaibli",
    "it was answered with {status} that the locked version is deleted":
        "un {status} dit supprimée la version verrouillée",
    "it was asked for and answered with 200, and the object is not said to be encrypted":
        "demandé et reçu avec un 200, mais l'objet n'est pas dit chiffré",
    "it was read without the key": "il a été lu sans la clé",
    "it was taken under another name": "il a été pris sous un autre nom",
    "it was taken with 200 and not kept": "prise avec un 200, et non gardée",
    "its answer has another form than S3's: {why}": "sa réponse n'a pas la forme de S3 : {why}",
    "names come in another order": "les noms viennent dans un autre ordre",
    "no certificate covers a bucket with a dot in its name":
        "aucun certificat ne couvre un bucket dont le nom a un point",
    "no rule": "aucune règle",
    "part {number} was asked for, the whole object came": "la partie {number} était demandée, tout l'objet est venu",
    "parts 2 and 5 were sent, {said} are listed":
        "les parties 2 et 5 ont été envoyées, {said} sont listées",
    "parts up to number {number}": "parties jusqu'au numéro {number}",
    "shown against these credentials only, not against the server's operator":
        "montré contre ces seules clés, non contre qui exploite le serveur",
    "the address is a number, not a name": "l'adresse est un nombre, non un nom",
    "the bucket has no object lock: {error}": "le bucket n'a pas de verrou d'objets : {error}",
    "the bucket keeps no versions: {said}": "le bucket ne garde pas de versions : {said}",
    "the bucket locks nothing by itself": "le bucket ne verrouille rien de lui-même",
    "the bucket locks whatever is put there: a trial would stay":
        "le bucket verrouille tout ce qu'on y dépose : un essai y resterait",
    "the copy has kept the old metadata": "la copie a gardé les anciennes métadonnées",
    "the copy has lost its metadata": "la copie a perdu ses métadonnées",
    "the lock was taken with 200 and not kept": "le verrou a reçu un 200 et n'a pas été gardé",
    "the locked version is gone: {error}": "la version verrouillée n'est plus là : {error}",
    "the object was read": "l'objet a été lu",
    "the range {range} is answered with {status}": "la partie {range} reçoit un {status}",
    "the range {range} is called {said}": "la partie {range} est appelée {said}",
    "the server does not say its time": "le serveur ne dit pas son heure",
    "the server's clock is {seconds} s from ours: set this machine's, or tell the provider":
        "l'horloge du serveur est à {seconds} s de la nôtre : réglez cette machine, ou dites-le au fournisseur",
    "the server's date is none": "la date du serveur n'en est pas une",
    "they come back as RFC 2047 words": "elles reviennent en mots de la RFC 2047",
    "versions are on, and a put gives no version id":
        "les versions sont actives, et un dépôt ne rend pas d'identifiant",
    "{count} objects below {prefix} could not be removed": "{count} objets sous {prefix} n'ont pu être retirés",
    "{error} for an object of ours": "{error} pour un objet à nous",
    "{header}: {sent} was sent, {came} came back": "{header} : {sent} envoyé, {came} revenu",
    "{key} has the bytes of another name": "{key} a les octets d'un autre nom",
    "{key} is listed, and was never put": "{key} est listé, et n'a jamais été déposé",
    "{key} is there, and is not listed": "{key} est là, et n'est pas listé",
    "{key} was taken, and is not there": "{key} a été pris, et n'est pas là",
    "{limit} bytes were not enough": "{limit} octets n'ont pas suffi",
    "{limit} requests were not enough": "{limit} requêtes n'ont pas suffi",
    "{limit} s were not enough": "{limit} s n'ont pas suffi",
    "{mode}, {days} days, {years} years": "{mode}, {days} jours, {years} ans",
    "{name} is answered with {status}": "{name} reçoit un {status}",
    "{put} objects were put, {listed} of them are listed": "{put} objets déposés, {listed} d'entre eux listés",
    "{rules} rules; objects expire after {days} days": "{rules} règles ; les objets expirent après {days} jours",
    "{said}": "{said}",
    "{seconds} s apart": "{seconds} s d'écart",
    "{sent} bytes were sent, {came} came back, SHA-256 {seen}… and not {expected}…":
        "{sent} octets envoyés, {came} revenus, SHA-256 {seen}… et non {expected}…",
    "{sent} tags should be there, {came} are, {same} of them as they were sent":
        "{sent} étiquettes devraient être là, {came} y sont, {same} d'entre elles comme envoyées",
    "{why}": "{why}",
    "{winners} of {writers} were told that theirs is the object":
        "{winners} sur {writers} se sont entendu dire que l'objet est le leur",
}  # fmt: skip


def title(operation: str, lang: str) -> str:
    """What an operation is, in words."""
    english = _TITLES.get(operation, operation)
    return FRENCH.get(english, english) if lang == "fr" else english


def line(trial: Trial, lang: str) -> str:
    """One trial on one line: outcome, what was tried, what was seen."""
    said = trial.said
    if lang == "fr":
        said = SAID.get(said, said)
    seen = ": ".join(part for part in (trial.code, said.format(**trial.facts)) if part)
    text = f"{OUTCOMES[lang][trial.outcome]:<11}{title(trial.operation, lang)} [{trial.operation}]"
    return f"{text}: {seen}" if seen else text
