"""One module a provider: how its API is asked, beside the tables of ``receiver.providers``."""

from collections.abc import Mapping
from typing import Protocol

from receiver.asking import Coded, Listing, Query
from receiver.queries.haso import HasoQuery
from receiver.queries.paratika import ParatikaQuery
from receiver.queries.payguru import PayguruQuery
from receiver.queries.payguru_phs import PayguruPhsQuery
from receiver.queries.paynet import PaynetQuery
from receiver.queries.zotlo import ZotloQuery


class _Lister(Query, Listing, Protocol):
    pass


# Those that can list what happened in a time come first.
_LISTERS: tuple[_Lister, ...] = (PayguruQuery(), ParatikaQuery(), PaynetQuery(), ZotloQuery())
_ALL: tuple[Query, ...] = (*_LISTERS, PayguruPhsQuery(), HasoQuery())
QUERIES: Mapping[str, Query] = {query.name: query for query in _ALL}
LISTS: Mapping[str, Listing] = {query.name: query for query in _LISTERS}
# Those that can list their error codes.
CODES: Mapping[str, Coded] = {"haso": HasoQuery()}
