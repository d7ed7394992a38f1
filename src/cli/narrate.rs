//! What `dev` tells: one line for each thing that becomes of an event, as it happens.

use std::collections::HashMap;

use eventyard::fate::{Fate, OfDelivery};
use eventyard_event::{DeliveryId, Name, Timestamp};
use eventyard_store::AttemptOutcome;

use super::screen::{Screen, shown, shown_lines};
use super::times;

/// How many attempts are remembered until their deliveries' fates are told. Each is told at once in the normal
/// course; beyond this, what an attempt said is left out of its line.
const ATTEMPTS_KEPT_MAX: usize = 1_024;

/// How many lines of a target's answer are shown.
const ANSWER_LINES_MAX: usize = 20;

/// The longest line of an answer or of data that is shown, in characters.
const LINE_CHARS_MAX: usize = 400;

/// Tells fates.
#[derive(Debug)]
pub(crate) struct Narrator {
    screen: Screen,
    /// What the newest attempt of a delivery said, until it is told what became of the delivery.
    attempts: HashMap<DeliveryId, Said>,
}

#[derive(Debug)]
struct Said {
    number: u32,
    code: String,
    message: String,
    response: String,
}

impl Narrator {
    pub(crate) fn new(screen: Screen) -> Narrator {
        Narrator { screen, attempts: HashMap::new() }
    }

    /// The lines for one fate, told at `now`; none where it only prepares the next one.
    pub(crate) fn tell(&mut self, fate: &Fate, now: Timestamp) -> Vec<String> {
        let clock = format!("{:.0}", now.to_jiff());
        let clock = self.screen.dim(clock.get(11..19).unwrap_or_default());
        let mut lines = self.lines(fate, now);
        if let Some(first) = lines.first_mut() {
            *first = format!("{clock} {first}");
        }
        lines
    }

    fn lines(&mut self, fate: &Fate, now: Timestamp) -> Vec<String> {
        let screen = self.screen;
        match fate {
            Fate::Accepted { event, cloudevent_id: _, ty, source_name, rules, duplicate } => {
                let what = format!("{} by {source_name} {}", shown(ty), screen.dim(event));
                if *duplicate {
                    return vec![format!("{} {what}: taken before, not delivered again", screen.warm("duplicate"))];
                }
                let names: Vec<_> = rules.iter().map(Name::as_str).collect();
                let heard = if names.is_empty() { String::new() } else { format!(" → {}", names.join(", ")) };
                vec![format!("{} {what}{heard}", screen.bold("accepted "))]
            }
            Fate::Unmatched { event, nearest, .. } => {
                let near = nearest.as_ref().map(|rule| format!("; nearest is `{rule}`")).unwrap_or_default();
                let rule = nearest.as_ref().map(|rule| format!(" {rule}")).unwrap_or_default();
                vec![
                    format!("{} no rule matched{near}", screen.warm("unmatched")),
                    screen.dim(format!("           eventyard explain {event}{rule}")),
                ]
            }
            Fate::Attempted { of, number, outcome, code, message, response } => {
                if *outcome == AttemptOutcome::Interrupted {
                    return vec![format!("{} {}", screen.warm("stopped  "), target_of(of))];
                }
                if self.attempts.len() >= ATTEMPTS_KEPT_MAX {
                    self.attempts.clear();
                }
                let said =
                    Said { number: *number, code: code.clone(), message: message.clone(), response: response.clone() };
                self.attempts.insert(of.delivery, said);
                Vec::new()
            }
            Fate::Delivered { of } => {
                let said = self.attempts.remove(&of.delivery);
                let mut lines = vec![format!(
                    "{} {}{}",
                    screen.good("delivered"),
                    target_of(of),
                    said.as_ref().filter(|said| said.number > 1).map(attempt_number).unwrap_or_default()
                )];
                lines.extend(said.iter().flat_map(|said| self.answer(&said.response)));
                lines
            }
            Fate::Retry { of, at } => {
                let said = self.attempts.remove(&of.delivery);
                vec![format!(
                    "{} {}, again {}{}",
                    screen.warm("retry    "),
                    target_of(of),
                    times::relative(*at, now),
                    said.as_ref().map(why).unwrap_or_default()
                )]
            }
            Fate::Dead { of, reason } => {
                let delivery = of.delivery;
                self.attempts.remove(&delivery);
                vec![
                    format!(
                        "{} {}: {} [{}]",
                        screen.bad("dead     "),
                        target_of(of),
                        short(&reason.message),
                        shown(&reason.code)
                    ),
                    screen.dim(format!("           eventyard dead-letters show {delivery}")),
                    screen.dim(format!("           eventyard dead-letters replay {delivery}")),
                ]
            }
            Fate::Cancelled { of } => {
                self.attempts.remove(&of.delivery);
                vec![format!("{} {} by hand", screen.warm("cancelled"), target_of(of))]
            }
            Fate::Paused { what } => vec![format!("{} {}", screen.warm("paused   "), shown(what))],
            Fate::Resumed { what } => vec![format!("{} {}", screen.good("resumed  "), shown(what))],
            Fate::Reloaded { hash: _, rules } => {
                let rules = if *rules == 1 { "1 rule".to_owned() } else { format!("{rules} rules") };
                vec![format!("{} the project was read again: {rules} in force", screen.good("reloaded "))]
            }
            Fate::Refused { report } => {
                let mut lines = vec![format!(
                    "{} the project does not load; the one before stays in force",
                    screen.bad("refused  ")
                )];
                lines.extend(shown_lines(report).lines().map(|line| format!("           {line}")));
                lines
            }
        }
    }

    fn answer(&self, response: &str) -> Vec<String> {
        let mut lines: Vec<_> = response
            .lines()
            .take(ANSWER_LINES_MAX)
            .map(|line| self.screen.dim(format!("           │ {}", short(line))))
            .collect();
        if response.lines().count() > ANSWER_LINES_MAX {
            lines.push(self.screen.dim("           │ …"));
        }
        lines
    }
}

fn target_of(of: &OfDelivery) -> String {
    match (&of.rule, &of.element) {
        (Some(rule), Some(element)) => format!("{rule} → {} ({} of {})", of.target, element.number, element.count),
        (Some(rule), None) => format!("{rule} → {}", of.target),
        (None, _) => format!("alert → {}", of.target),
    }
}

fn attempt_number(said: &Said) -> String {
    format!(" at attempt {}", said.number)
}

/// Why an attempt failed, as the end of a line.
fn why(said: &Said) -> String {
    format!(": attempt {}: {} [{}]", said.number, short(&said.message), shown(&said.code))
}

fn short(text: &str) -> String {
    let text = text.trim();
    if text.chars().count() <= LINE_CHARS_MAX {
        return shown(text);
    }
    shown(&text.chars().take(LINE_CHARS_MAX).chain(['…']).collect::<String>())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use eventyard_event::EventId;
    use eventyard_store::Reason;

    use super::*;

    /// The plain lines for one delivery's life.
    #[test]
    fn an_event_is_told_from_acceptance_to_its_end() {
        let now = Timestamp::parse("2026-11-21T12:00:00Z").unwrap();
        let event = EventId::new(now, [7; 10]);
        let delivery = event.delivery(0);
        let of = OfDelivery {
            delivery,
            source_name: Name::new("events").unwrap(),
            ty: "order.created".into(),
            rule: Some(Name::new("orders").unwrap()),
            target: Name::new("receipt").unwrap(),
            element: None,
        };
        let mut narrator = Narrator::new(Screen::plain());
        let mut told = Vec::new();
        let attempt = |number, outcome, code: &str, message: &str, response: &str| Fate::Attempted {
            of: of.clone(),
            number,
            outcome,
            code: code.to_owned(),
            message: message.to_owned(),
            response: response.to_owned(),
        };
        for fate in [
            Fate::Accepted {
                event,
                cloudevent_id: "1".into(),
                ty: "order.\u{1b}created".into(),
                source_name: Name::new("events").unwrap(),
                rules: vec![Name::new("orders").unwrap()],
                duplicate: false,
            },
            attempt(1, AttemptOutcome::Retryable, "exit_75", "no answer", ""),
            Fate::Retry { of: of.clone(), at: now.plus(Duration::from_secs(9)) },
            attempt(2, AttemptOutcome::Succeeded, "", "", "one\ntwo"),
            Fate::Delivered { of: of.clone() },
            Fate::Dead {
                of: OfDelivery { rule: None, ..of.clone() },
                reason: Reason { code: "http_404".to_owned(), message: "gone".to_owned() },
            },
            Fate::Unmatched {
                event,
                source_name: of.source_name.clone(),
                ty: of.ty.clone(),
                nearest: Some(Name::new("orders").unwrap()),
            },
        ] {
            told.extend(narrator.tell(&fate, now));
        }
        let expected = format!(
            "12:00:00 accepted  order.\\u{{1b}}created by events {event} → orders\n\
             12:00:00 retry     orders → receipt, again in 9 s: attempt 1: no answer [exit_75]\n\
             12:00:00 delivered orders → receipt at attempt 2\n           │ one\n           │ two\n\
             12:00:00 dead      alert → receipt: gone [http_404]\n           \
             eventyard dead-letters show {delivery}\n           eventyard dead-letters replay {delivery}\n\
             12:00:00 unmatched no rule matched; nearest is `orders`\n           eventyard explain {event} orders"
        );
        assert_eq!(told.join("\n"), expected);
    }
}
