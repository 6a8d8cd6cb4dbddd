//! Connections upstream that wait for the next call.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::connection::Connection;
use crate::clock::Clock;
use crate::shutdown::Tasks;

/// How long a connection may lie idle before it is closed: shorter than servers commonly allow, so that a call seldom
/// meets one that is just being closed.
const IDLE: Duration = Duration::from_secs(50);

/// Most idle connections kept.
const MAX_IDLE: usize = 512;

/// How long a request may go on after its reply: an upstream that has answered seldom wants the rest, and what was read ahead
/// of it takes memory until it is gone.
const AFTER_REPLY: Duration = Duration::from_secs(30);

/// How often it is looked for connections that were idle for long, or that upstream has closed.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// The idle connections, the one used last at the end.
pub(super) struct Pool {
    idle: Mutex<VecDeque<Idle>>,
    clock: Clock,
    tasks: Tasks,
}

struct Idle {
    connection: Box<Connection>,
    /// By the clock's elapsed time.
    since: Duration,
}

impl Pool {
    /// An empty pool, swept for as long as it lives.
    pub(super) fn new(clock: Clock, tasks: &Tasks) -> Arc<Self> {
        let pool = Arc::new(Self { idle: Mutex::default(), clock: clock.clone(), tasks: tasks.clone() });
        let (weak, stop) = (Arc::downgrade(&pool), tasks.stop_token());
        tasks.spawn_call("idle connections", async move {
            loop {
                tokio::select! {
                    () = clock.sleep(SWEEP_EVERY) => {}
                    () = stop.cancelled() => return,
                }
                let Some(pool) = Weak::upgrade(&weak) else { return };
                pool.sweep();
            }
        });
        pool
    }

    /// The connection that was used last and, as far as is known, is still open: of one that is found closed afterwards the
    /// request comes back.
    pub(super) fn take(&self) -> Option<Box<Connection>> {
        loop {
            let Idle { mut connection, since } = self.lock().pop_back()?;
            if self.is_fresh(since) && connection.is_open() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection whose last reply is over for the next call, if it takes one.
    pub(super) fn give(self: &Arc<Self>, mut connection: Box<Connection>) {
        if connection.is_over() {
            return;
        }
        if connection.is_ready() {
            return self.put(connection);
        }
        // The reply was faster than its request's body, which goes on without it.
        let pool = Arc::clone(self);
        self.tasks.spawn_call("request after its reply", async move {
            if pool.clock.timeout(AFTER_REPLY, connection.ready()).await == Some(true) {
                pool.put(connection);
            }
        });
    }

    fn put(&self, mut connection: Box<Connection>) {
        connection.forget_user();
        let idle = Idle { connection, since: self.clock.elapsed() };
        let mut all = self.lock();
        all.push_back(idle);
        let surplus = if all.len() > MAX_IDLE { all.pop_front() } else { None };
        drop(all);
        // Closed once the lock is free.
        drop(surplus);
    }

    /// Closes what was idle for long, or what upstream has closed.
    fn sweep(&self) {
        let (mut all, mut closed) = (self.lock(), Vec::new());
        for _ in 0..all.len() {
            let Some(mut idle) = all.pop_front() else { break };
            if self.is_fresh(idle.since) && idle.connection.is_open() {
                all.push_back(idle);
            } else {
                closed.push(idle);
            }
        }
        drop(all);
        // Closed once the lock is free.
        drop(closed);
    }

    fn is_fresh(&self, since: Duration) -> bool {
        self.clock.elapsed().saturating_sub(since) < IDLE
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
