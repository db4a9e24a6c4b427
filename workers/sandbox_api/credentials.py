"""What the played APIs accept. Made up, and known to everyone."""

from collections.abc import Mapping

SECRET = "sandbox-api-secret"  # noqa: S105 - see above
PHS_MERCHANT_KEY = f"{SECRET}-phs-merchant"
HASO_KEY = f"{SECRET}-haso-key"
HASO_SALT = f"{SECRET}-haso-salt"

# By the names of the files that the sandbox configuration reads them from.
SECRETS: Mapping[str, str] = {
    "api_secret": SECRET,
    "asked_phs_merchant_key": PHS_MERCHANT_KEY,
    "asked_haso_hmac_key": HASO_KEY,
    "asked_haso_salt": HASO_SALT,
}
