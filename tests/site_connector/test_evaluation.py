"""What evaluating a cohort hands to the analyses, beside the study's variables."""

import numpy as np

from site_connector import evaluation
from tests.site_connector.consortium import CONCEPT_SETS, Consortium
from tests.site_connector.extract import PERSONS

EACH_RECORD = f"""cohort "Each record of a drug"

{CONCEPT_SETS}
enter on drug of Metformin or drug of Glipizide
keep every entry per person
"""


def test_rows_say_whose_they_are(loaded: Consortium) -> None:
    study = loaded.study()
    with evaluation.opened(loaded.north.database) as connection:
        data = evaluation.site_data(connection, "cohort", EACH_RECORD, {"year": study.variables["year"]})
    assert data.persons is not None and len(data.persons) == len(data.frame)
    assert (np.diff(data.persons) >= 0).all() and len(set(data.persons)) == PERSONS
