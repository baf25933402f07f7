"""Does the tool say no? One fault of each family, planted where a faulty exporter would have made it."""

from pathlib import Path

from reversible.testing import mutations


def plant(bundle: Path) -> tuple[str, ...]:
    """Damage the finished bundle and make its manifests true again; return each fault with its place."""
    faults = (
        f"rounded decimal: {mutations.round_decimal(bundle, 'boutique.ligne', 'remise', places=2)}",
        f"dropped row: {mutations.drop_row(bundle, 'boutique.avis')}",
        f"swapped time zone: {mutations.shift_time_zone(bundle, 'boutique.commande', 'passee_le')}",
        f"object metadata gone: {mutations.forget_metadata(bundle, 'comptoir-documents')}",
        f"wrong LayerNorm epsilon: {mutations.change_epsilon(bundle, 'digits-transformer')}",
    )
    mutations.reseal(bundle)
    return faults
