//! What the promises need to know of a system.

use std::net::SocketAddr;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;

use crate::proxy::Proxy;

/// A real server, as a test of the contract sees it. Every test has a `place` of its own on it (a topic, a stream, a
/// queue), so that tests run side by side.
#[async_trait]
pub(crate) trait System: Send + Sync {
    /// `kind = "…"`.
    fn kind(&self) -> &'static str;
    /// Where the server listens. Connectors are led there through a proxy.
    fn address(&self) -> SocketAddr;
    /// A proxy to the server; one whose server names its own address to clients says where it is to listen.
    async fn proxy(&self) -> Proxy {
        Proxy::start(self.address()).await
    }
    /// What `[source.NAME]` says beside its kind to read JSON from `place`, at `address`.
    fn source(&self, address: SocketAddr, place: &str) -> Value;
    /// What `[sink.NAME]` says beside its kind to write to `place`, at `address`.
    fn sink(&self, address: SocketAddr, place: &str) -> Value;
    /// Makes the place. It may hold some ten thousand messages.
    async fn prepare(&self, place: &str);
    /// Writes messages, in order; confirmed on return.
    async fn produce(&self, place: &str, bodies: Vec<Bytes>);
    /// Everything that is in the place, in any order.
    async fn contents(&self, place: &str) -> Vec<Bytes>;
    /// How many messages the system still has to give or to have acknowledged; `None` where it keeps no account, and how
    /// far a source came is its saved position alone.
    async fn unacknowledged(&self, place: &str) -> Option<u64>;
    /// How many messages are counted where many are.
    fn many(&self) -> u64 {
        10_000
    }
    /// Whether what a message says is read on the way in, so that one can be undecodable.
    fn decodes(&self) -> bool {
        true
    }
    /// Ends the server without a warning and starts it again with its data. `false` where this system's server is not
    /// the test's own to end; its proxy then stands in for it.
    async fn restart(&self) -> bool {
        false
    }
}

/// Makes a test of each promise for one system. `$start` gives `Option<impl System>`. `contract!(start, sinks: …)` makes
/// those that are named, for a system to which not all apply.
macro_rules! contract {
    ($start:path) => {
        $crate::system::contract! { @each $start, sources:
            ten_thousand_are_counted_exactly_and_in_order,
            nothing_is_acknowledged_before_it_is_taken,
            what_was_read_and_not_committed_comes_again,
            a_server_that_restarts_is_gone_on_with,
            a_cut_connection_is_made_again,
            a_swallowed_connection_is_noticed,
            poison_in_the_middle_is_a_dead_letter,
            a_paused_source_reads_nothing,
            a_seek_to_the_beginning_reads_all_again,
        }
        $crate::system::contract! { @each $start, sinks:
            a_thousand_are_there_when_they_are_confirmed,
            a_repeat_is_told_by_its_delivery,
            without_a_connection_a_send_may_be_tried_again,
            after_a_cut_connection_sends_succeed_again,
        }
    };
    ($start:path, $module:ident: $($promise:ident),+ $(,)?) => {
        $crate::system::contract! { @each $start, $module: $($promise),+ }
    };
    (@each $start:path, $module:ident: $($promise:ident),+ $(,)?) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() {
                    if let Some(system) = $start().await {
                        $crate::$module::$promise(&system, stringify!($promise)).await;
                    }
                }
            )+
        }
    };
}
pub(crate) use contract;
