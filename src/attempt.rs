//! One attempt of one delivery: looks up whom to call, writes that it begins, calls once with a deadline, and
//! hands what it saw to [`settle`](crate::settle). It decides nothing.

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use eventyard_connectors::sink::{Payload, PayloadForm, SendError, SendRequest, Sent, Sink};
use eventyard_event::{Data, DeliveryId, Envelope, Limits, Name, Text, Timestamp, format_text, hops, json, media_type};
use eventyard_functions::{Executor, Invocation, InvocationResult};
use eventyard_rules::transform::Seen;
use eventyard_rules::{AnswerEvent, EventTarget, Input, Transform};
use eventyard_store::{Admission, Begin, QueueKey, Reason, SettleError, Taken};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use crate::alert::{OWN_SOURCE, group};
use crate::broker::Broker;
use crate::in_force::{Callee, InForce, Target};
use crate::reply::Answer;
use crate::retry::Outcome;
use crate::route::route;
use crate::settle::{Ended, Tried, settle};
use crate::split::Handed;
use trace::traceparent;

mod many;
mod trace;

/// The most of an answer, or of an error's text, that is kept with an attempt.
const KEPT_BYTES_MAX: usize = 1024;

/// Somebody who is told that targets have been called: their places are free, though the outcomes are still on their
/// way to the disk.
pub trait Called: Clone + Send + 'static {
    /// So many calls have ended.
    fn called(&self, count: usize) -> impl Future<Output = ()> + Send;
    /// So many attempts are over: their outcomes are durable, or could not be written.
    fn settled(&self, count: usize) -> impl Future<Output = ()> + Send;
}

/// Attempts several deliveries of one queue, each for itself, and settles them. That they begin is written in one
/// piece; so is how those end that end together. A function's call goes on as one of `attempts`.
///
/// A delivery whose outcome cannot be written keeps its lease, and the next start finds an interrupted attempt.
///
/// A request that waits for a delivery's answer has it before the outcome is written: it need not wait for a second
/// sync. However an attempt ends, panics included, that request does not wait on.
pub async fn attempt_each(broker: &Arc<Broker>, taken: Vec<Taken>, attempts: &TaskTracker, told: impl Called) {
    let all = taken.len();
    let taken = give_up_unreadable(broker, taken).await;
    let count = taken.len();
    over(&told, all - count).await;
    if count == 0 {
        return;
    }
    if is_paused(broker, &taken) {
        put_back(broker, taken).await;
        return over(&told, count).await;
    }
    let in_force = broker.in_force();
    let Some(target) = taken.first().and_then(|first| in_force.target(&first.queue)) else {
        settle_uncalled(broker, taken, gone).await;
        return over(&told, count).await;
    };
    let mut waits = broker.replies().claim_each(taken.iter().map(|taken| taken.delivery));
    let mut who_waits = |delivery| if waits.is_empty() { None } else { waits.remove(&delivery) };
    let began_at = broker.clocks().now();
    let backoff = |_: &Taken| target.policy.delay(1, broker.chance());
    let begun = begin(broker, taken, began_at, backoff).await;
    let not_begun = count - begun.len();
    if let Some(sink) = many::sink_of(target) {
        over(&told, not_begun).await;
        let begun = begun.into_iter().map(|taken| (who_waits(taken.delivery), taken)).collect();
        return many::attempt(broker, &in_force, (target, sink), (began_at, begun), attempts, told).await;
    }
    let mut ended = Vec::with_capacity(begun.len());
    let mut under_way = FuturesUnordered::new();
    for taken in begun {
        let waits = who_waits(taken.delivery);
        let (broker_too, in_force, target_too) = (Arc::clone(broker), Arc::clone(&in_force), Arc::clone(target));
        let delivery = taken.delivery;
        let call = AssertUnwindSafe(async move {
            let tried = call_once(&broker_too, &in_force, &target_too, std::slice::from_ref(&taken), waits).await;
            Ended { taken, tried: Tried { began_at, ..tried } }
        });
        // A call that panics takes none of the others with it; its lease stays.
        let mut call = Box::pin(call.catch_unwind().map(move |ended| ended.map_or_else(|_| broke_off(delivery), Some)));
        match target.callee {
            // A function may take its time before it first waits for anything, and others would wait for it here.
            Callee::Function { .. } => {
                let (broker, target, told) = (Arc::clone(broker), Arc::clone(target), told.clone());
                attempts.spawn(async move { over_each(&broker, vec![call.await], &target, told).await });
            }
            Callee::Sink(_) | Callee::Event(_) => {
                match poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await {
                    Poll::Ready(one) => ended.push(one),
                    Poll::Pending => under_way.push(call),
                }
            }
        }
    }
    over(&told, not_begun).await;
    // Those that end together are settled together, while the others go on.
    loop {
        while let Some(Some(one)) = under_way.next().now_or_never() {
            ended.push(one);
        }
        let some = std::mem::take(&mut ended);
        if under_way.is_empty() {
            return over_each(broker, some, target, told).await;
        }
        over_beside(broker, some, target, &told, attempts);
        ended.extend(under_way.next().await);
    }
}

/// Tells that calls have ended, and settles them.
async fn over_each(broker: &Broker, ended: Vec<Option<Ended>>, target: &Target, told: impl Called) {
    let count = ended.len();
    if count > 0 {
        told.called(count).await;
        settle(broker, ended.into_iter().flatten(), Some(target), Broker::chance).await;
        told.settled(count).await;
    }
}

/// The same as one of `attempts`, while others go on.
fn over_beside(
    broker: &Arc<Broker>,
    ended: Vec<Option<Ended>>,
    target: &Arc<Target>,
    told: &impl Called,
    attempts: &TaskTracker,
) {
    if !ended.is_empty() {
        let (broker, target, told) = (Arc::clone(broker), Arc::clone(target), told.clone());
        attempts.spawn(async move { over_each(&broker, ended, &target, told).await });
    }
}

/// What is left of an attempt that panicked: the delivery keeps its lease.
fn broke_off(delivery: DeliveryId) -> Option<Ended> {
    tracing::error!(%delivery, "an attempt panicked; this is a fault of eventyard");
    None
}

/// Attempts several alerts of one channel as one: they are sent in one request, and settled by that one outcome.
pub async fn attempt_as_one(broker: &Broker, taken: Vec<Taken>) {
    let taken = give_up_unreadable(broker, taken).await;
    if taken.is_empty() {
        return;
    }
    let in_force = broker.in_force();
    let Some(target) = taken.first().and_then(|first| in_force.target(&first.queue)) else {
        return settle_uncalled(broker, taken, gone).await;
    };
    let began_at = broker.clocks().now();
    let backoff = target.policy.delay(1, broker.chance());
    let taken = begin(broker, taken, began_at, |_| backoff).await;
    if taken.is_empty() {
        return;
    }
    let tried = Tried { began_at, ..call_once(broker, &in_force, target, &taken, None).await };
    // One draw for all, so that what was sent together comes back together.
    let chance = broker.chance();
    let ended = taken.into_iter().map(|taken| Ended { taken, tried: tried.clone() });
    settle(broker, ended, Some(target), |_| chance).await;
}

/// Whether their target was paused after dispatch had looked.
fn is_paused(broker: &Broker, taken: &[Taken]) -> bool {
    taken.first().is_some_and(|first| broker.pauses().now().targets.contains_key(&first.queue))
}

async fn put_back(broker: &Broker, taken: Vec<Taken>) {
    broker.store().release(taken.iter().map(|taken| taken.delivery).collect()).await;
}

/// Tells that so many deliveries are dealt with, none of which was called here.
async fn over(told: &impl Called, count: usize) {
    if count > 0 {
        told.called(count).await;
        told.settled(count).await;
    }
}

/// Gives up deliveries for which nobody can be called. There is nobody's answer to wait for.
async fn settle_uncalled(broker: &Broker, taken: Vec<Taken>, why: fn(&Taken) -> Reason) {
    let ended = taken.into_iter().map(|taken| {
        drop(broker.replies().claim(taken.delivery));
        let tried = Tried::without_attempt(Outcome::Permanent { reason: why(&taken) });
        Ended { taken, tried }
    });
    settle(broker, ended, None, Broker::chance).await;
}

/// Settles what cannot be read any more, with which no target can be called; returns the rest.
async fn give_up_unreadable(broker: &Broker, taken: Vec<Taken>) -> Vec<Taken> {
    if taken.iter().all(|taken| taken.unreadable.is_none()) {
        return taken;
    }
    let (damaged, sound): (Vec<Taken>, Vec<Taken>) = taken.into_iter().partition(|taken| taken.unreadable.is_some());
    settle_uncalled(broker, damaged, unreadable).await;
    sound
}

/// Calls once, unless the broker stops; tells who waits for the answer.
async fn call_once(
    broker: &Broker,
    in_force: &InForce,
    target: &Target,
    taken: &[Taken],
    waits: Option<oneshot::Sender<Answer>>,
) -> Tried {
    let tried = tokio::select! {
        biased;
        tried = call(broker, target, taken) => tried,
        () = broker.cut_off_token().cancelled() => Tried::begun(Outcome::Interrupted),
    };
    seen(in_force, tried, waits)
}

/// Tells who waits for the answer, and takes out of it what nobody is to see.
fn seen(in_force: &InForce, mut tried: Tried, waits: Option<oneshot::Sender<Answer>>) -> Tried {
    if let (Some(waits), Some(answer)) = (waits, tried.answer.take()) {
        // An error means that it has gone away meanwhile.
        let _ = waits.send(*answer);
    }
    in_force.secrets.hide_in(&mut tried);
    tried
}

/// Writes that attempts begin; returns those for which that worked. `backoff` is how long one waits that is cut off.
async fn begin(broker: &Broker, taken: Vec<Taken>, at: Timestamp, backoff: impl Fn(&Taken) -> Duration) -> Vec<Taken> {
    let begins = taken
        .iter()
        .map(|taken| Begin { delivery: taken.delivery, at, backoff_if_interrupted: backoff(taken) })
        .collect();
    let results = broker.store().begin(begins).await;
    if results.iter().all(Result::is_ok) {
        return taken;
    }
    let mut begun = Vec::with_capacity(taken.len());
    let mut not_begun = Vec::new();
    for (taken, result) in taken.into_iter().zip(results) {
        match result {
            Ok(()) => begun.push(taken),
            Err(SettleError::Store(error)) => {
                tracing::warn!(%error, delivery = %taken.delivery, "an attempt was not begun because the store could not write it");
                not_begun.push(taken.delivery);
            }
            Err(error) => tracing::error!(%error, "the store and dispatch disagree about a lease"),
        }
    }
    if !not_begun.is_empty() {
        broker.store().release(not_begun).await;
    }
    begun
}

fn gone(taken: &Taken) -> Reason {
    let target = &taken.queue.target;
    let message = match &taken.queue.rule {
        Some(rule) => format!("the project in force has no target `{target}` in a rule `{rule}`"),
        None => format!("the project in force has no channel `{target}`"),
    };
    Reason { code: "target_gone".into(), message }
}

fn unreadable(taken: &Taken) -> Reason {
    let why = taken.unreadable.as_deref().unwrap_or_default();
    Reason { code: "event_unreadable".into(), message: cut(format!("the stored event cannot be read: {why}")) }
}

/// Calls the target once. Cancellation: a call that is dropped may or may not have reached its target.
async fn call(broker: &Broker, target: &Target, taken: &[Taken]) -> Tried {
    match (taken, &target.callee) {
        ([taken], _) => call_with(broker, target, taken).await,
        (alerts, Callee::Sink(sink)) => send_as_one(broker, sink.as_ref(), target, alerts).await,
        // Only channels group, and a channel is a sink.
        _ => Tried::begun(Outcome::Interrupted),
    }
}

/// Sends several alerts in one request.
async fn send_as_one(broker: &Broker, sink: &dyn Sink, target: &Target, alerts: &[Taken]) -> Tried {
    let newest = alerts.iter().max_by_key(|alert| alert.tries);
    let (Some(joined), Some(newest)) = (group::join(alerts), newest) else {
        return Tried::begun(Outcome::Interrupted);
    };
    let as_one = Taken { envelope: joined.envelope, ..newest.clone() };
    match payload(&Handed::plain(&as_one), &target.input) {
        Ok(payload) => {
            let request =
                SendRequest { delivery: joined.id, ..request(broker.clocks().now(), target, &as_one, payload) };
            send(sink, target, request).await
        }
        Err(reason) => Tried::begun(Outcome::Permanent { reason }),
    }
}

pub(crate) async fn call_with(broker: &Broker, target: &Target, taken: &Taken) -> Tried {
    // Before an object is fetched that nobody would get.
    if let Callee::Sink(sink) = &target.callee
        && let Err(reason) = may_go_out(sink.as_ref(), &taken.envelope)
    {
        return Tried::begun(Outcome::Permanent { reason });
    }
    let handed = match broker.splits().hand(taken) {
        Ok(handed) => handed,
        Err(reason) => return Tried::begun(Outcome::Permanent { reason }),
    };
    let taken = &*handed.taken;
    let payload = match &target.input {
        Input::Object => fetch(broker, target, taken).await,
        input => payload(&handed, input).map_err(|reason| Outcome::Permanent { reason }),
    };
    let payload = match payload {
        Ok(payload) => payload,
        Err(outcome) => return Tried::begun(outcome),
    };
    match &target.callee {
        Callee::Function { name, executor } => {
            let invoked = invoke(name, executor.as_ref(), target, taken, payload).await;
            answered(broker, target, taken, invoked)
        }
        Callee::Sink(sink) => send(sink.as_ref(), target, request(broker.clocks().now(), target, taken, payload)).await,
        Callee::Event(event) => {
            let shaped = matches!(target.input, Input::Template(_)).then_some(payload);
            pass_on(broker, event, taken, shaped)
        }
    }
}

/// The bytes of the object that an event names: they are fetched here, and are nowhere but in the target's hands.
async fn fetch(broker: &Broker, target: &Target, taken: &Taken) -> Result<Payload, Outcome> {
    let envelope = &taken.envelope;
    let Some(objects) = broker.in_force().objects.get(&envelope.source_name).cloned() else {
        let message = format!("`input = \"object\"`: the source `{}` brings in no objects", envelope.source_name);
        return Err(Outcome::Permanent { reason: Reason { code: "no_object".into(), message } });
    };
    let fetched = tokio::time::timeout(target.timeout, objects.fetch(&envelope.event, target.object_bytes_max)).await;
    let too_long = |_| SendError::retryable("timeout", format!("the object was not here within {:?}", target.timeout));
    match fetched.map_err(too_long).and_then(|fetched| fetched) {
        Ok(object) => {
            Ok(Payload { content_type: object.content_type.map(Text::from), body: object.body, form: PayloadForm::Raw })
        }
        Err(error) => Err(failed(error).0),
    }
}

/// What the target receives.
pub(crate) fn payload(handed: &Handed<'_>, input: &Input) -> Result<Payload, Reason> {
    let envelope = &handed.taken.envelope;
    match input {
        Input::Template(transform) => shaped(handed, transform),
        Input::Event => Ok(Payload {
            content_type: Some("application/cloudevents+json".into()),
            body: Bytes::from(envelope.structured_json()),
            form: PayloadForm::Structured,
        }),
        Input::Raw => Ok(Payload {
            content_type: envelope.event.content_type().map(Text::from),
            body: match &envelope.event.data {
                Data::Json(bytes) | Data::Bytes(bytes) => bytes.clone(),
                Data::None => Bytes::new(),
            },
            form: PayloadForm::Raw,
        }),
        // Only what is called for one event is given its object.
        Input::Object => {
            let message = "no object is fetched for several events at once".to_owned();
            Err(Reason { code: "no_object".into(), message })
        }
        Input::Data => {
            let body = match &envelope.event.data {
                Data::Json(bytes) => bytes.clone(),
                Data::None => Bytes::from_static(b"null"),
                Data::Bytes(_) => {
                    let message =
                        "the rule asks for `input = \"data\"`, and this event's data is no JSON; `raw` takes any";
                    return Err(Reason { code: "input_not_json".into(), message: message.into() });
                }
            };
            Ok(Payload { content_type: Some("application/json".into()), body, form: PayloadForm::Shaped })
        }
    }
}

/// The head of what a target is given, where its rule shapes it: for people.
pub(crate) fn given(broker: &Broker, target: &Target, taken: &Taken) -> Option<String> {
    match &target.input {
        Input::Template(_) | Input::Data => {
            let made = broker.splits().hand(taken).and_then(|handed| payload(&handed, &target.input));
            Some(made.map_or_else(|_| String::new(), |payload| head(&payload.body)))
        }
        Input::Event | Input::Raw | Input::Object => None,
    }
}

/// What a template makes of the event. That it makes nothing is for good: another attempt would see the same event, and
/// a template that is mended is seen by a replay.
fn shaped(handed: &Handed<'_>, transform: &Transform) -> Result<Payload, Reason> {
    let taken = &*handed.taken;
    let rule = taken.queue.rule.as_ref().map_or("", Name::as_str);
    let seen = Seen {
        subject: handed.subject(),
        rule_name: rule,
        rule_arn: &rule_source(&taken.queue),
        ingestion_time: &taken.envelope.received_at.to_string(),
    };
    let made =
        transform.apply(&seen).map_err(|error| Reason { code: error.code().into(), message: error.to_string() })?;
    let content_type = if made.is_json { "application/json" } else { "text/plain; charset=utf-8" };
    Ok(Payload { content_type: Some(content_type.into()), body: made.text.into(), form: PayloadForm::Shaped })
}

/// Calls a function once.
async fn invoke(
    name: &Name,
    executor: &dyn Executor,
    target: &Target,
    taken: &Taken,
    payload: Payload,
) -> Result<InvocationResult, Outcome> {
    let event = &taken.envelope.event;
    let fact = |name: &str, value: &str| (format!("EVENTYARD_{name}"), value.to_owned());
    let mut environment = vec![
        fact("EVENT", &taken.envelope.id.to_string()),
        fact("EVENT_ID", &event.id),
        fact("EVENT_TYPE", &event.ty),
        fact("EVENT_SOURCE", &event.source),
        fact("SOURCE", taken.envelope.source_name.as_str()),
        fact("NAMESPACE", taken.queue.namespace.as_str()),
        fact("DELIVERY", &taken.delivery.to_string()),
        fact("TARGET", taken.queue.target.as_str()),
        fact("FUNCTION", name.as_str()),
        fact("ATTEMPT", &taken.tries.saturating_add(1).to_string()),
        fact("TRACEPARENT", &traceparent(taken)),
    ];
    environment.extend(taken.queue.rule.iter().map(|rule| fact("RULE", rule.as_str())));
    environment.extend(event.subject.iter().map(|subject| fact("EVENT_SUBJECT", subject)));
    if let Some(element) = &taken.element {
        environment.push(fact("ELEMENT", &element.number.to_string()));
        environment.push(fact("ELEMENT_COUNT", &element.count.to_string()));
    }
    // An environment variable cannot hold NUL; attributes from outside were checked, data is not among these.
    environment.retain(|(_, value)| !value.contains('\0'));

    let mut headers = vec![("traceparent".to_owned(), traceparent(taken))];
    if payload.form == PayloadForm::Raw {
        headers.extend(eventyard_event::http::write_binary(event).0);
    }
    let invocation = Invocation {
        id: taken.delivery.to_string(),
        attempt: taken.tries.saturating_add(1),
        function: name.clone(),
        payload: payload.body,
        content_type: payload.content_type.map(String::from).unwrap_or_default(),
        timeout: target.timeout,
        environment,
        headers,
    };
    executor.invoke(invocation).await.map_err(|error| {
        let reason = Reason { code: error.code().into_owned(), message: cut(error.to_string()) };
        if error.retryable() {
            Outcome::Retryable { reason, retry_after: error.retry_after() }
        } else {
            Outcome::Permanent { reason }
        }
    })
}

/// What came of a call of a function; where its rule says so, its answer goes on as an event in the same frame.
fn answered(broker: &Broker, target: &Target, taken: &Taken, invoked: Result<InvocationResult, Outcome>) -> Tried {
    let result = match invoked {
        Ok(result) => result,
        Err(outcome) => return Tried::begun(outcome),
    };
    let emits = match &target.answer {
        // A function that says nothing has nothing to pass on.
        Some(to) if !result.answer.is_empty() => match answer_event(broker, to, taken, &result) {
            Ok(admission) => vec![admission],
            Err(reason) => return Tried::begun(Outcome::Permanent { reason }),
        },
        _ => Vec::new(),
    };
    Tried {
        response: head(&result.answer),
        answer: Some(Box::new(Answer { body: result.answer, truncated: result.truncated, ..Answer::default() })),
        emits,
        ..Tried::begun(Outcome::Succeeded)
    }
}

/// A function's answer as the event that it becomes.
fn answer_event(
    broker: &Broker,
    to: &AnswerEvent,
    taken: &Taken,
    result: &InvocationResult,
) -> Result<Admission, Reason> {
    let max = broker.in_force().project.limits.event_bytes_max;
    if result.truncated || result.answer.len() > max {
        let message = format!("the function's answer is too large for an event: over {max} bytes, or cut off at 1 MiB");
        return Err(Reason { code: "answer_too_large".into(), message });
    }
    let mut next = next_event(broker, &to.event, taken)?;
    let may_be_json = to.content_type.as_deref().is_none_or(media_type::is_json);
    let shape = may_be_json.then(|| json::validate(&result.answer, Limits::default().json_depth_max).ok()).flatten();
    let event = &mut next.event;
    event.dataschema = None;
    next.keys_unique = shape.is_none_or(|shape| shape.keys_unique);
    let looks_like = if shape.is_some() { "application/json" } else { "application/octet-stream" };
    event.datacontenttype = Some(to.content_type.as_deref().unwrap_or(looks_like).into());
    event.data = if shape.is_some() { Data::Json(result.answer.clone()) } else { Data::Bytes(result.answer.clone()) };
    Ok(routed(broker, next))
}

fn request(at: Timestamp, target: &Target, taken: &Taken, payload: Payload) -> SendRequest {
    SendRequest {
        delivery: taken.delivery.to_text(),
        attempt: taken.tries.saturating_add(1),
        at,
        event: Arc::clone(&taken.envelope),
        payload,
        timeout: target.timeout,
        traceparent: Some(traceparent(taken)),
    }
}

async fn send(sink: &dyn Sink, target: &Target, request: SendRequest) -> Tried {
    // The sink keeps to the time-out itself and names what took too long; this is for one that does not.
    let sent = tokio::time::timeout(target.timeout, sink.send(request)).await;
    tried(sent.unwrap_or_else(|_| Err(no_answer(target))), true)
}

fn no_answer(target: &Target) -> SendError {
    SendError::retryable("timeout", format!("no answer within {:?}", target.timeout))
}

/// What a sink's answer means; the whole of it only where somebody may wait for it.
fn tried(sent: Result<Sent, SendError>, may_be_awaited: bool) -> Tried {
    match sent {
        Ok(Sent { response_head, status, content_type, body, truncated, .. }) => {
            let answer = || Box::new(Answer { status, content_type, body, truncated });
            Tried {
                response: cut(response_head),
                answer: may_be_awaited.then(answer),
                ..Tried::begun(Outcome::Succeeded)
            }
        }
        Err(error) => {
            let (outcome, response) = failed(error);
            Tried { response, ..Tried::begun(outcome) }
        }
    }
}

/// What a failure of a sink means, and the head of what was answered.
fn failed(error: SendError) -> (Outcome, String) {
    let reason = Reason { code: error.code, message: cut(error.message) };
    let outcome = if error.retryable {
        Outcome::Retryable { reason, retry_after: error.retry_after }
    } else {
        Outcome::Permanent { reason }
    };
    (outcome, cut(error.response_head))
}

/// Makes the next event of a chain. It is committed in the frame that settles this delivery: exactly once.
fn pass_on(broker: &Broker, to: &EventTarget, taken: &Taken, shaped: Option<Payload>) -> Tried {
    let next = next_event(broker, to, taken).and_then(|next| match shaped {
        Some(payload) => with_payload(broker, next, payload),
        None => Ok(next),
    });
    match next {
        Ok(next) => Tried { emits: vec![routed(broker, next)], ..Tried::begun(Outcome::Succeeded) },
        Err(reason) => Tried::begun(Outcome::Permanent { reason }),
    }
}

/// The next event, with what a template made as its data.
fn with_payload(broker: &Broker, mut next: Envelope, payload: Payload) -> Result<Envelope, Reason> {
    let max = broker.in_force().project.limits.event_bytes_max;
    if payload.body.len() > max {
        let message = format!("the template makes more of this event than an event may have: over {max} bytes");
        return Err(Reason { code: "template_limit".into(), message });
    }
    let shape = json::validate(&payload.body, Limits::default().json_depth_max).ok();
    next.keys_unique = shape.is_none_or(|shape| shape.keys_unique);
    next.event.dataschema = None;
    next.event.datacontenttype = payload.content_type;
    next.event.data = if shape.is_some() { Data::Json(payload.body) } else { Data::Bytes(payload.body) };
    Ok(next)
}

/// An event that has been passed on so often that its rules can only go in a circle is not passed on again.
fn not_in_a_circle(event: &Envelope) -> Result<(), Reason> {
    if event.hop_count < hops::MAX {
        return Ok(());
    }
    let message = format!("the event has been passed on {} times: its rules go in a circle", hops::MAX);
    Err(Reason { code: "loop_detected".into(), message })
}

/// Whether a sink is handed an event: not where it would go round for ever.
fn may_go_out(sink: &dyn Sink, event: &Envelope) -> Result<(), Reason> {
    if sink.carries_hops() { not_in_a_circle(event) } else { Ok(()) }
}

/// The event that is made of the one that is delivered: with its data, and the target's attributes.
fn next_event(broker: &Broker, to: &EventTarget, taken: &Taken) -> Result<Envelope, Reason> {
    let from = &taken.envelope;
    not_in_a_circle(from)?;
    let mut event = from.event.clone();
    event.id = format_text!("{}", taken.delivery);
    event.ty = to.ty.as_str().into();
    event.source = to.source.as_deref().map_or_else(|| rule_source(&taken.queue), Text::from);
    if let Some(subject) = &to.subject {
        event.subject = Some(subject.into());
    }
    Ok(Envelope {
        id: broker.new_event_id(),
        namespace: from.namespace.clone(),
        source_name: OWN_SOURCE.clone(),
        tags: from.tags.clone(),
        received_at: broker.clocks().now(),
        hop_count: from.hop_count + 1,
        keys_unique: from.keys_unique,
        event,
    })
}

/// What names a rule among all: the `source` of the events that it makes.
fn rule_source(queue: &QueueKey) -> Text {
    match &queue.rule {
        Some(rule) => format_text!("/rules/{}/{rule}", queue.namespace),
        None => "/rules".into(),
    }
}

fn routed(broker: &Broker, envelope: Envelope) -> Admission {
    let deliveries = route(&broker.in_force(), &envelope, broker.clocks().steady_now()).deliveries;
    Admission { envelope: envelope.into(), deliveries, dedupe: None, dead: None }
}

/// The beginning of an answer as text.
fn head(bytes: &[u8]) -> String {
    let end = bytes.len().min(KEPT_BYTES_MAX);
    cut(String::from_utf8_lossy(&bytes[..end]).into_owned())
}

/// At most [`KEPT_BYTES_MAX`] bytes of a text, whole characters only.
fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(KEPT_BYTES_MAX));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_falls_between_characters() {
        assert_eq!(cut("é".repeat(600)).len(), 1024);
        assert_eq!(cut(format!("x{}", "é".repeat(600))).len(), 1023);
        assert_eq!(head(&[0xff; 5000]).len(), 1023);
    }
}
