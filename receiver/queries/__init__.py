"""One module a provider: how its API is asked, beside the tables of ``receiver.providers``."""

from collections.abc import Mapping

from receiver.asking import Query
from receiver.queries.haso import HasoQuery
from receiver.queries.paratika import ParatikaQuery
from receiver.queries.payguru import PayguruQuery
from receiver.queries.payguru_phs import PayguruPhsQuery
from receiver.queries.paynet import PaynetQuery
from receiver.queries.zotlo import ZotloQuery

_ALL: tuple[Query, ...] = (
    PayguruQuery(),
    PayguruPhsQuery(),
    ParatikaQuery(),
    PaynetQuery(),
    ZotloQuery(),
    HasoQuery(),
)
QUERIES: Mapping[str, Query] = {query.name: query for query in _ALL}
