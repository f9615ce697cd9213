"""Requests that schemathesis makes from the OpenAPI document, right and wrong ones: every answer is one that it
describes, and none is a failure of the service."""

from __future__ import annotations

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

EACH = 12  # requests of a kind to a route
# A schema cannot say that time stamps do not fall: what fits it may be refused. And no registry is there: 503 is right.
UNFIT = [positive_data_acceptance, not_a_server_error]
BATCH = "/v1/predict/batch"  # a recording in it that cannot be used has its refusal among the answers
QUICK = settings(
    max_examples=EACH,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("mode", GenerationMode)
def test_answers_are_those_that_the_document_describes(service, mode) -> None:
    schema = schemathesis.openapi.from_url(f"{service}/openapi.json")
    asked = set()
    for result in schema.get_all_operations():
        operation = result.ok()

        @QUICK
        @given(case=operation.as_strategy(generation_mode=mode))
        def answers(case: schemathesis.Case) -> None:
            asked.add(case.operation.path)
            unfit = [*UNFIT, negative_data_rejection] if case.operation.path == BATCH else UNFIT
            answer = case.call_and_validate(excluded_checks=unfit)
            assert answer.status_code < 500 or answer.json()["error"]["field"] == "registry", answer.text

        if mode == GenerationMode.POSITIVE or operation.body or list(operation.iter_parameters()):
            answers()
    assert {"/v1/predict", "/v1/predict/batch", "/v1/spikes"} <= asked
    assert httpx.get(f"{service}/ready").status_code == 200
