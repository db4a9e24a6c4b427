"""The providers that Ulak knows: a tuple that one can grep, in the order they are shown."""

from collections.abc import Mapping

from receiver.ports import Provider
from receiver.providers.haso import Haso
from receiver.providers.paratika import Paratika
from receiver.providers.payguru import Payguru
from receiver.providers.payguru_phs import PayguruPhs
from receiver.providers.paynet import Paynet
from receiver.providers.zotlo import Zotlo

PROVIDERS: tuple[Provider, ...] = (Payguru(), PayguruPhs(), Paratika(), Paynet(), Zotlo(), Haso())
BY_NAME: Mapping[str, Provider] = {provider.name: provider for provider in PROVIDERS}
