"""The handler of `rules:run`: one check of one rule, from the page to the committed judgement.

What is ours and passing (network, 5xx, database) is retried by the stream; what is the page's own
state (404, no match, a captcha) is a run with an error code, and the job is done.
"""

from __future__ import annotations

import hashlib
import logging
from typing import Final, Literal

import msgspec

from sentinel.decide import Normalised, healing, judge, judge_failure, judge_not_modified, normalise_rule
from sentinel.decide.conditions import Before, needed_days
from sentinel.decide.host import Gone
from sentinel.errors import (
    CheckFailure,
    NotFound,
    PermanentFailure,
    SentinelError,
    StaleWorker,
    TemporaryFailure,
    Unreadable,
)
from sentinel.events import AlertRecorded, ChangeConfirmed, Observer, RunEnded, ignore
from sentinel.extract.contained import Extractor
from sentinel.fetch import modes
from sentinel.fetch.fetcher import Fetcher, FetchFailure
from sentinel.fetch.modes import Worked
from sentinel.handlers import walls
from sentinel.handlers.sparing import Sparing
from sentinel.jobs import OURS_FOR_NOW, RULES_RUN, RunRule, run_rule_policy
from sentinel.model import Fetched, Healed, Id, Remembered, Rule, RuleState, Verdict
from sentinel.relay import Relay
from sentinel.store import (
    FinishedRun,
    NewOutboxJob,
    RunResult,
    RunTicket,
    StateConflict,
    Store,
    StoredRule,
)
from sentinel.store.blobs import Blobs
from sentinel.store.runs import MAX_RAW
from streamq import Broker, DeadLetter, Job, RetryIn, Snooze
from streamq.clock import Clock
from streamq.tracing import stage

log = logging.getLogger("sentinel.check")

#: Every tenth fetch is a full one, whatever the validators say (domain.md, Fetch).
FULL_FETCH_EVERY: Final = 10
#: Runs among which the last good one is looked for.
RECENT_RUNS: Final = 20
#: Times a judgement is made anew because another check of the rule was committed meanwhile.
REJUDGE: Final = 3
#: A server that asks for more patience than this is asked at the next interval instead (seconds).
MAX_PATIENCE: Final = 3600.0
#: Seconds for which the last good page that is kept will do, though a newer one was seen.
LAST_GOOD_EVERY: Final = 3600.0
#: A longer job id is told by its hash in the id of the check that confirms it.
LONG_ID: Final = 400


class FetchFailed(TemporaryFailure):
    """The page could not be fetched for now."""


class NotAnId(PermanentFailure):
    """No rule can be called that; a database need not be asked."""


class Reading(msgspec.Struct, frozen=True):
    """What fetch, extract and normalise came to: a value, "not modified", or a failure."""

    result: RunResult
    raw: str | None = None
    value: Normalised | None = None
    not_modified: bool = False
    failure: CheckFailure | None = None
    page: Fetched | None = None
    #: What is known of the rule's elements from here on; None: as before.
    elements: dict[str, Remembered] | None = None

    def healed(self, stored: StoredRule) -> tuple[Healed, ...]:
        """The healed selectors that it was read by, now or when the page was last seen otherwise."""
        if self.elements is not None:
            return healing.healed_in(self.elements)
        known = healing.healed_in(stored.elements)
        # Told at the check that read it, if it was to be told.
        return tuple(msgspec.structs.replace(one, seen=1) for one in known) if self.not_modified else ()


class CheckRuleHandler:
    """Callable with a job; built once per process from the parts that it uses."""

    def __init__(
        self,
        store: Store,
        broker: Broker,
        *,
        fetcher: Fetcher,
        extractor: Extractor,
        relay: Relay,
        clock: Clock,
        blobs: Blobs | None = None,
        rate_per_domain: float | None = 3.0,
        observer: Observer = ignore,
    ) -> None:
        """`blobs`: where pages are kept; None: nowhere. `rate_per_domain`: fetches started per second and
        host over all workers; None: no host is spared, whatever it asks for or does not answer.
        """
        self._store = store
        self._fetcher = fetcher
        self._extractor = extractor
        self._relay = relay
        self._blobs = blobs
        self._clock = clock
        self._sparing = Sparing(store, broker, fetcher, clock, rate_per_domain)
        self._observer = observer

    async def __call__(self, job: Job[RunRule]) -> None:
        """Check the rule once, or say why not.

        Raises Snooze (the host's rate), FetchFailed and RetryIn (tried again, while it may be),
        DeadLetter (no such rule, or not one that can be carried out), and what is wrong with us.
        """
        try:
            await self._check(job)
        except (DeadLetter, RetryIn, Snooze, FetchFailed, StaleWorker):
            raise
        except NotAnId as exc:
            raise DeadLetter("rule_not_found", str(exc)) from exc
        except NotFound as exc:
            detail = f"no rule {job.payload.rule_id!r}"
            await self._note(job, _impossible(detail), final=True)
            raise DeadLetter("rule_not_found", detail) from exc
        except Unreadable as exc:
            await self._note(job, _impossible(str(exc)), final=True)
            raise DeadLetter("rule_invalid", str(exc)) from exc
        except PermanentFailure as exc:
            raise DeadLetter("refused", str(exc)) from exc
        except Exception as exc:
            await self._note(job, _fault(exc), final=job.last_attempt)
            raise

    async def _check(self, job: Job[RunRule]) -> None:
        """The story of one check."""
        _must_be_an_id(job.payload.rule_id)
        stored, trouble = await self._sparing.look_up(job.payload.rule_id)
        if not stored.rule.enabled and job.payload.trigger != "manual_test":
            log.info("rule_disabled", extra={"rule_id": stored.rule.id})
            await self._note(job, _impossible("it was switched off meanwhile"), final=True)
            return
        gone = await self._sparing.ask(stored, trouble, job.id, by_hand=job.payload.trigger == "manual_test")
        ticket = await self._begin(job, stored)
        if ticket.finished is not None:
            _end(ticket.finished)
            return
        if gone is None:
            reading = await self._read(ticket.stored, job, was_well=trouble is None)
        else:
            reading = _unasked(gone)
        verdict, finished, reading = await self._commit(job, ticket, reading)
        self._tell(ticket, reading, verdict, finished)
        if gone is None:
            _end(finished, reading.failure)

    async def _begin(self, job: Job[RunRule], stored: StoredRule) -> RunTicket:
        payload, now = job.payload, self._clock.time()
        return await self._store.begin_run(
            payload.rule_id, job.id, job.fence, payload.trigger, now, attempt=job.attempt, stored=stored
        )

    async def _note(self, job: Job[RunRule], result: RunResult, *, final: bool) -> None:
        """Have the job's open run tell what came of this attempt; `final`: there is none to follow."""
        ended_at = self._clock.time() if final else None
        try:
            await self._store.note_failure(job.payload.rule_id, job.id, job.fence, result, ended_at=ended_at)
        except SentinelError as error:  # what failed is on its way up; this would hide it
            log.warning("attempt_not_noted", extra={"job_id": job.id, "error": str(error)})

    # --- reading --------------------------------------------------------------------------------

    async def _read(self, stored: StoredRule, job: Job[RunRule], *, was_well: bool = False) -> Reading:
        """What the page says; raises FetchFailed or RetryIn where another attempt may say more.

        `was_well`: nothing was known against its host a moment ago.
        """
        reading = await self._look(stored, job)
        page = reading.page
        final_url = stored.rule.url if page is None else page.final_url
        await self._sparing.note(stored, final_url, reading.failure, was_well=was_well)
        failure = reading.failure
        if failure is None or failure.code not in OURS_FOR_NOW or job.last_attempt:
            return reading
        await self._note(job, reading.result, final=False)
        if failure.retry_after is not None:
            raise RetryIn(min(failure.retry_after, MAX_PATIENCE), str(failure))
        raise FetchFailed(str(failure))

    async def _look(self, stored: StoredRule, job: Job[RunRule]) -> Reading:
        """Fetch -> classify -> extract -> normalise; a stage that fails names its error code."""
        try:
            with stage("fetch"):
                page = await self._fetch(stored, job)
        except FetchFailure as failure:
            return Reading(_result(failure.partial, failure), failure=failure, page=failure.partial)
        if page.not_modified and await self._is_elsewhere(stored, page, job):
            return await self._look(_unvalidated(stored), job)
        if page.not_modified:
            return Reading(_result(page), not_modified=True, page=page)
        reading = await self._understand(stored, page)
        return await self._look_again(stored, job, reading)

    async def _is_elsewhere(self, stored: StoredRule, page: Fetched, job: Job[RunRule]) -> bool:
        """Whether "as it was" was said of another page than the last good one: validators are a page's own.

        Asked where the rule's own address sends on, and that may be to somewhere else each time.
        """
        if page.final_url == stored.rule.url:
            return False
        runs = await self._store.runs(stored.rule.id, RECENT_RUNS)
        known = [run.result.final_url for run in runs if run.status == "ok" and run.job_id != job.id]
        return not known or known[0] != page.final_url

    async def _look_again(self, stored: StoredRule, job: Job[RunRule], first: Reading) -> Reading:
        """What a browser sees, where the first look was by HTTP and came to nothing; else the first."""
        page, rule = first.page, stored.rule
        if first.failure is None or page is None:
            return first
        try:
            again = await self._fetcher.look_again(
                page,
                rule.fetch,
                first.failure.code,
                force_mode=job.payload.force_mode,
                worked=self._worked(stored.state, job),
                hope_for=_hoped_for(rule),
            )
        except FetchFailure as failure:
            return Reading(_result(failure.partial, failure), failure=failure, page=failure.partial)
        if again is not None:
            return await self._understand(stored, again)
        rests = self._worked(stored.state, job).rests if rule.fetch.mode == "auto" else 0.0
        return _unhelped(first, first.failure, rests) if rests and page.mode == "http" else first

    async def _understand(self, stored: StoredRule, page: Fetched) -> Reading:
        """Classify -> extract -> normalise."""
        selected: int | None = None
        raw: str | None = None
        try:
            if walls.stands(page):
                raise _wall(page)
            rule = stored.rule
            known = {} if page.blocked else stored.elements  # nothing is healed by a wall
            with stage("extract"):
                extracted = await self._extractor.read(page, rule, known)
            raw, selected = extracted.raw[:MAX_RAW], extracted.selector_index
            state = stored.state
            value = normalise_rule(extracted, rule, separator=state.decimal_separator, stable=state.stable)
            if not walls.is_behind(page, rule, extracted, value.value):
                raise _wall(page)
        except CheckFailure as exc:
            failure = _wall(page) if page.blocked else exc
            return Reading(_result(page, failure, selected), raw=raw, failure=failure, page=page)
        page = msgspec.structs.replace(page, blocked=None, block_detail="", block_confidence=0.0)
        elements = healing.remember(stored.elements, extracted, rule)
        result = _result(page, None, selected)
        if healed := healing.healed_in(elements):
            detail = f"SELECTOR_HEALED: {healing.words(healed)}"
            result = msgspec.structs.replace(result, error_detail=detail)
        return Reading(result, raw=raw, value=value, page=page, elements=elements)

    async def _fetch(self, stored: StoredRule, job: Job[RunRule]) -> Fetched:
        state = stored.state
        ask_again = job.payload.trigger != "manual_test" and state.conditional_count + 1 < FULL_FETCH_EVERY
        conditional = ask_again and (state.stable is not None or state.candidate is not None)
        return await self._fetcher.fetch(
            stored.rule.url,
            stored.rule.fetch,
            force_mode=job.payload.force_mode,
            etag=state.etag if conditional else None,
            last_modified=state.last_modified if conditional else None,
            worked=self._worked(state, job),
            hope_for=_hoped_for(stored.rule),
        )

    def _worked(self, state: RuleState, job: Job[RunRule]) -> Worked:
        """Whoever tests a rule by hand wants to see both ways."""
        by_hand = job.payload.trigger == "manual_test" and state.mode_that_worked == "neither"
        if state.mode_since is None or by_hand:
            return Worked()
        failing = None if state.last_good_at is None else state.mode_since - state.last_good_at
        return Worked(state.mode_that_worked, self._clock.time() - state.mode_since, failing)

    async def _drawn(self, rule: Rule, result: RunResult, verdict: Verdict) -> RunResult:
        """With a picture of a confirmed change, where the rule asks for one.

        By a visit of its own within a second of the check: pictures of every check would cost each of
        them the images that nobody looks at. What cannot be drawn is no reason to lose the change.
        """
        if verdict.change is None or not rule.fetch.screenshot_on_change or self._blobs is None:
            return result
        try:
            drawn = await self._fetcher.draw(rule.url, rule.fetch, _hoped_for(rule))
        except FetchFailure as failure:
            log.warning("not_drawn", extra={"rule_id": rule.id, "error": str(failure)})
            return result
        return msgspec.structs.replace(
            result,
            screenshot_blob=await self._blobs.put(drawn.page, "screenshot") if drawn.page else None,
            element_blob=await self._blobs.put(drawn.element, "screenshot") if drawn.element else None,
        )

    # --- judging and committing -----------------------------------------------------------------

    async def _commit(
        self, job: Job[RunRule], ticket: RunTicket, reading: Reading
    ) -> tuple[Verdict, FinishedRun, Reading]:
        """Judge and write, in one transaction; judge anew when the rule's state has moved meanwhile.

        Look anew too, where the rule has been edited so that what was read is not what it asks for,
        or where the page was only compared with what was remembered before. The reading judged is
        the third thing returned.
        """
        stored = ticket.stored
        for _ in range(REJUDGE):
            past = await self._past(stored.rule)
            verdict = self._judge(
                _afresh(stored, job), reading, past, forced=job.payload.force_mode is not None
            )
            result, page_blob = await self._keep(stored, reading, verdict)
            result = _doubted(await self._drawn(stored.rule, result, verdict), verdict)
            try:
                with stage("store"):
                    finished = await self._store.finish_run(
                        ticket,
                        result,
                        verdict,
                        _raw(reading, stored.state),
                        expected_state_version=stored.state.version,
                        now=self._clock.time(),
                        outbox=_confirming(
                            job, verdict, self._clock.time(), self._other_mode(stored.rule, reading)
                        ),
                        page_blob=page_blob,
                        elements=None if reading.elements == stored.elements else reading.elements,
                    )
            except StateConflict:
                before, stored = stored, await self._store.rule(ticket.rule_id)
                if reading.not_modified or _asks_otherwise(stored.rule, before.rule):
                    reading = await self._read(stored, job)
                continue
            if verdict.alerts or verdict.confirm_in is not None:
                self._relay.poke()  # most checks call for no job, and a look costs a transaction
            return verdict, finished, reading
        raise TemporaryFailure("other checks of the rule were committed at the same time, again and again")

    async def _keep(
        self, stored: StoredRule, reading: Reading, verdict: Verdict
    ) -> tuple[RunResult, str | None]:
        """Keep the page that a change or a failure was seen on, and now and then the last good one.

        The result that names it, and its hash where it is the last good one from here on.
        """
        page, result = reading.page, reading.result
        if page is None or not page.body or self._blobs is None:
            return result, None
        tells = reading.failure is not None or verdict.change is not None
        good = verdict.value is not None
        recent = stored.page_blob_at is not None and (
            self._clock.time() - stored.page_blob_at < LAST_GOOD_EVERY
            or result.content_hash == stored.page_blob
        )
        if not tells and (recent or not good):
            return result, None
        kept = await self._blobs.put(page.body, "body")
        return msgspec.structs.replace(result, body_blob=kept if tells else None), kept if good else None

    async def _past(self, rule: Rule) -> list[Before]:
        """What was believed before, as far back as the rule's conditions look."""
        days = needed_days(rule.alert_policy)
        if days is None:
            return []
        since = self._clock.time() - float(days) * 86400
        return [Before(at, value) for at, value in await self._store.replaced_values(rule.id, since)]

    def _other_mode(self, rule: Rule, reading: Reading) -> Literal["headless"] | None:
        """How to look at a new value again: by a browser, where HTTP brought it and there is one.

        Not the other way round: what took a browser is not to be had by HTTP.
        """
        page = reading.page
        by_http = page is not None and page.mode == "http" and "html" in page.content_type
        return (
            "headless"
            if by_http and rule.fetch.mode == "auto" and not self._fetcher.browser_trouble
            else None
        )

    def _judge(self, stored: StoredRule, reading: Reading, past: list[Before], *, forced: bool) -> Verdict:
        now, zone = self._clock.time(), stored.workspace.timezone
        rule, state = stored.rule, stored.state
        if reading.failure is not None:
            if (
                not forced
                and rule.fetch.mode == "auto"
                and modes.neither_helped(reading.page, reading.failure.code)
            ):
                state = msgspec.structs.replace(state, mode_that_worked="neither", mode_since=now)
            return judge_failure(rule, state, reading.failure.code, reading.failure.detail, now=now)
        if reading.not_modified and (state.stable is not None or state.candidate is not None):
            seen = msgspec.structs.replace(state, conditional_count=state.conditional_count + 1)
            return judge_not_modified(rule, seen, now=now, timezone=zone, healed=reading.healed(stored))
        if reading.value is None:
            raise TemporaryFailure("the page is as it was, but how that was is not remembered any more")
        return judge(
            rule,
            _learned(state, reading, now=now if rule.fetch.mode == "auto" and not forced else None),
            reading.raw,
            reading.value.value,
            now=now,
            timezone=zone,
            implausible=reading.value.implausible,
            page_size=None if reading.page is None else len(reading.page.text),
            past=past,
            healed=reading.healed(stored),
        )

    def _tell(self, ticket: RunTicket, reading: Reading, verdict: Verdict, finished: FinishedRun) -> None:
        page, failure = reading.page, reading.failure
        if verdict.change is not None:
            self._observer(ChangeConfirmed(ticket.rule_id, verdict.change.kind))
        outcome = "ok" if failure is None else failure.code
        self._observer(
            RunEnded(
                ticket.rule_id,
                "none" if page is None else page.mode,
                outcome,
                None if page is None else page.timings.get("total"),
                None if page is None else page.wire_bytes,
            )
        )
        for alert_id, severity in finished.severities.items():
            result = finished.suppressed.get(alert_id, "queued")
            self._observer(AlertRecorded(alert_id, severity, result))
        log.info(
            "rule_checked", extra={"rule_id": ticket.rule_id, "outcome": outcome, "job_id": ticket.job_id}
        )


def _must_be_an_id(rule_id: str) -> None:
    """Raises NotAnId."""
    try:
        msgspec.convert(rule_id, Id)
    except msgspec.ValidationError as exc:
        raise NotAnId(f"{rule_id[:120]!r} is not the id of a rule") from exc


def _afresh(stored: StoredRule, job: Job[RunRule]) -> StoredRule:
    """Somebody sees to a rule that is tested by hand: it is due as its schedule says from here on."""
    if job.payload.trigger != "manual_test" or not stored.state.backoff:
        return stored
    return msgspec.structs.replace(stored, state=msgspec.structs.replace(stored.state, backoff=0))


def _unvalidated(stored: StoredRule) -> StoredRule:
    """The same, as if nothing were known that a server could call as it was."""
    return msgspec.structs.replace(
        stored, state=msgspec.structs.replace(stored.state, etag=None, last_modified=None)
    )


def _unhelped(reading: Reading, failure: CheckFailure, rests: float) -> Reading:
    """The same, and why no browser looked this time. `rests`: seconds until one does."""
    said = f"{failure.detail}; a browser did not help either, it looks again in {rests / 60:.0f} min"
    told = CheckFailure(failure.code, said)
    result = msgspec.structs.replace(reading.result, error_detail=said)
    return msgspec.structs.replace(reading, result=result, failure=told)


def _unasked(gone: Gone) -> Reading:
    """How a check ends that was not made, as it would have ended."""
    failure = CheckFailure(gone.code, gone.why)
    return Reading(_result(None, failure), failure=failure)


def _end(finished: FinishedRun, failure: CheckFailure | None = None) -> None:
    """A check that was given up ends its job as failed, in whichever delivery: raises FetchFailed."""
    if finished.error_code in OURS_FOR_NOW:
        raise FetchFailed(str(failure or finished.error_code))


def _asks_otherwise(after: Rule, before: Rule) -> bool:
    """What was read for the one is no answer for the other."""
    return (after.url, after.fetch, after.parts) != (before.url, before.fetch, before.parts)


def _hoped_for(rule: Rule) -> str | None:
    """What a browser waits for, and draws by itself."""
    return modes.css_of(rule.extraction)


def _wall(page: Fetched) -> CheckFailure:
    """What stands before a page."""
    return CheckFailure(page.blocked or "", page.block_detail)


def _impossible(detail: str) -> RunResult:
    """The rule went away, or became something else, between two attempts."""
    return RunResult(error_code="RULE_INVALID", error_detail=detail)


def _fault(error: Exception) -> RunResult:
    """What an error of our own says in the run's row; a stranger's words stay in the log."""
    if isinstance(error, TemporaryFailure):
        return RunResult(error_code="SYSTEM_STORE", error_detail=str(error))
    return RunResult(
        error_code="SYSTEM_WORKER_CRASH", error_detail=f"a fault of ours: {type(error).__name__}"
    )


def _result(
    page: Fetched | None, failure: CheckFailure | None = None, selector_index: int | None = None
) -> RunResult:
    """How the check went, for the run's row."""
    code, detail = (failure.code, failure.detail) if failure is not None else (None, None)
    if page is None:
        return RunResult(error_code=code, error_detail=detail)
    return RunResult(
        mode=page.mode,
        fallback_reason=page.fallback_reason,
        http_status=page.status or None,
        final_url=page.final_url,
        not_modified=page.not_modified,
        bytes=page.wire_bytes,
        timings=page.timings,
        error_code=code,
        error_detail=detail,
        block=page.blocked,
        content_hash=hashlib.sha256(page.body).hexdigest() if page.body else None,
        selector_index=selector_index,
    )


def _raw(reading: Reading, state: RuleState) -> str | None:
    """The text that was read, now or when the page was last seen to be otherwise."""
    if not reading.not_modified:
        return reading.raw
    return state.stable_raw if state.candidate is None else state.candidate_raw


def _learned(state: RuleState, reading: Reading, *, now: float | None) -> RuleState:
    """What a full good fetch taught: validators, the mode that works, the page's decimal separator.

    `now`: None where the mode was not the fetcher's choice.
    """
    page, value = reading.page, reading.value
    new = page is not None and now is not None and not modes.was_remembered(page)
    headers = page.headers if page is not None else {}
    # A document that is as it was says nothing of what a browser's scripts put into it.
    by_http = page is not None and page.mode == "http"
    return msgspec.structs.replace(
        state,
        etag=headers.get("etag") if by_http else None,
        last_modified=headers.get("last-modified") if by_http else None,
        conditional_count=0,
        mode_that_worked=_asked_first(page) if page is not None and new else state.mode_that_worked,
        mode_since=now if new else state.mode_since,
        decimal_separator=(value.separator if value is not None else None) or state.decimal_separator,
    )


def _asked_first(page: Fetched) -> Literal["http", "headless"]:
    """The mode to begin with next time. A solver is not asked before there is a wall, which HTTP finds."""
    return "http" if page.mode == "solver" else page.mode


def _doubted(result: RunResult, verdict: Verdict) -> RunResult:
    """A good run whose value is not believed yet says why; it is no failure, so it has no code."""
    doubt = verdict.state.candidate_doubt
    if verdict.value is None or verdict.confirmed or doubt is None or result.error_detail is not None:
        return result
    return msgspec.structs.replace(result, error_detail=f"VALUE_IMPLAUSIBLE: {doubt}")


def _confirming(
    job: Job[RunRule], verdict: Verdict, now: float, mode: Literal["headless"] | None
) -> tuple[NewOutboxJob, ...]:
    """The re-check that confirms a new value soon, where the rule asks for one; `mode`: by that."""
    if verdict.confirm_in is None:
        return ()
    payload = RunRule(
        rule_id=job.payload.rule_id,
        trigger="retry",
        requested_at=job.payload.requested_at,
        force_mode=job.payload.force_mode or mode,
    )
    # Numbered by how many confirmations came before: the running one still holds its own key.
    link = job.id.count("+") + 1
    base = job.id
    if len(base) > LONG_ID:  # with more and more pluses it would become too long for a job's id
        base = f"check-{hashlib.sha256(base.encode(errors='replace')).hexdigest()}{'+' * min(link - 1, 20)}"
    policy = run_rule_policy(payload, confirms=True)
    return (
        NewOutboxJob(
            stream=RULES_RUN,
            job_id=f"{base}+",
            payload=payload,
            lane=policy.lane,
            unique=f"{policy.unique}:{link}",
            unique_for=policy.unique_for,
            available_at=now + verdict.confirm_in,
        ),
    )
