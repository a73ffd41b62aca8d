//! Delivery of the outbox. It claims due messages at the configured rate, sends them concurrently,
//! and stores the outcomes.

use super::content::Content;
use super::errors::SendError;
use super::metrics::{self, Outcome};
use super::sink::{DeliveredMessage, MessageSink};
use super::sms::SmsClient;
use super::{backoff, mime, smtp};
use crate::base::{Clock, Duration, Entropy, MonotonicTime, Timestamp};
use crate::catalogue::CatalogueCell;
use crate::config::{Channel, Mail, MailTransport, Sms, SmtpServer};
use crate::store::{ClaimedMessage, Store, StoreError};
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// The interval between polls of an outbox without due messages.
const POLL_INTERVAL: Duration = Duration::from_millis(300);
/// The time of a lease beyond the timeout of an attempt, for the store's own timeouts.
const LEASE_MARGIN: Duration = Duration::from_secs(20);
/// The interval between deletions of expired messages.
const EXPIRE_INTERVAL: Duration = Duration::from_secs(2);
/// The maximum number of concurrent requests to the SMS service.
const SMS_CONCURRENCY: usize = 4;
/// The pause after an error of the database.
const STORE_PAUSE: Duration = Duration::from_secs(2);

/// The delay of a message after its attempt found the server unavailable.
const UNAVAILABLE_DELAY: Duration = Duration::from_millis(500);

/// The transport of a channel, with the settings for one attempt.
#[derive(Clone)]
enum Route {
    Mail(Arc<Mail>),
    Sms(Arc<Sms>),
}

impl Route {
    fn channel(&self) -> Channel {
        match self {
            Self::Mail(_) => Channel::Email,
            Self::Sms(_) => Channel::Sms,
        }
    }
}

/// The delivery state of one channel.
struct ChannelState {
    channel: Channel,
    /// The number of consecutive attempts for which the server was unavailable.
    failures: AtomicU32,
    /// The end of the pause after such an attempt, in milliseconds of the monotonic clock.
    paused_until: AtomicI64,
}

/// The sender of the outbox's messages on this node.
pub struct Delivery {
    store: Store,
    catalogue: Arc<CatalogueCell>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    connections: Mutex<Vec<smtp::Connection>>,
    sms: SmsClient,
    /// What receives the messages in the place of their servers.
    sink: Option<Arc<dyn MessageSink>>,
}

impl Delivery {
    /// Creates the delivery, which uses the current settings in `catalogue`.
    pub fn new(
        store: Store,
        catalogue: Arc<CatalogueCell>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        let connections = Mutex::default();
        Self { store, catalogue, clock, entropy, connections, sms: SmsClient::default(), sink: None }
    }

    /// Returns the delivery with `sink` in the place of the mail server and the SMS service.
    pub fn into_sink(self, sink: Arc<dyn MessageSink>) -> Self {
        Self { sink: Some(sink), ..self }
    }

    /// Sends messages until `shutdown`. Attempts in progress are finished.
    pub async fn run(self: Arc<Self>, shutdown: watch::Receiver<bool>) {
        let (email, sms) = (self.clone(), self.clone());
        let mut expiring = shutdown.clone();
        let expire = async {
            loop {
                tokio::select! {
                    () = sleep(EXPIRE_INTERVAL) => self.expire().await,
                    _ = expiring.changed() => return,
                }
            }
        };
        tokio::join!(
            email.run_channel(Channel::Email, shutdown.clone()),
            sms.run_channel(Channel::Sms, shutdown.clone()),
            expire
        );
        let idle = std::mem::take(&mut *self.idle_connections());
        for connection in idle {
            connection.close().await;
        }
    }

    async fn run_channel(self: Arc<Self>, channel: Channel, mut shutdown: watch::Receiver<bool>) {
        let state = Arc::new(ChannelState {
            channel,
            failures: AtomicU32::new(0),
            paused_until: AtomicI64::new(MonotonicTime::LONG_AGO.millis()),
        });
        let mut attempts = JoinSet::new();
        loop {
            let pause = match self.start_attempts(&state, &mut attempts).await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::warn!(%error, channel = channel.name(), "cannot read the outbox");
                    STORE_PAUSE
                }
            };
            tokio::select! {
                () = sleep(pause) => {}
                _ = attempts.join_next(), if !attempts.is_empty() => {}
                _ = shutdown.changed() => break,
            }
            while attempts.try_join_next().is_some() {}
        }
        while attempts.join_next().await.is_some() {}
    }

    /// Starts as many attempts as are allowed now. Returns the pause until the next poll.
    async fn start_attempts(
        self: &Arc<Self>,
        state: &Arc<ChannelState>,
        attempts: &mut JoinSet<()>,
    ) -> Result<Duration, StoreError> {
        let config = self.catalogue.load().config.clone();
        let (route, rate, limit, deadline) = match (state.channel, &config.mail, &config.sms) {
            (Channel::Email, Some(mail), _) => {
                (Route::Mail(Arc::new(mail.clone())), mail.rate, mail.connections, mail.timeout)
            }
            (Channel::Sms, _, Some(sms)) => {
                (Route::Sms(Arc::new(sms.clone())), sms.rate, SMS_CONCURRENCY, sms.timeout)
            }
            _ => return Ok(POLL_INTERVAL),
        };
        let paused_until = MonotonicTime::from_millis(state.paused_until.load(Ordering::Acquire));
        let pause = paused_until.since(self.clock.monotonic());
        if !pause.is_zero() {
            return Ok(pause.min(POLL_INTERVAL));
        }
        // While the server is unavailable, one message at a time checks whether it is available
        // again.
        let limit = if state.failures.load(Ordering::Acquire) > 0 { 1 } else { limit };
        let free = u32::try_from(limit.saturating_sub(attempts.len())).unwrap_or(0);
        if free == 0 {
            return Ok(POLL_INTERVAL);
        }
        // Leases use the database's clock, because the nodes' clocks may differ.
        let (channel, now) = (state.channel.name(), self.store.time().await?);
        if !self.store.has_due_messages(channel, now).await? {
            return Ok(POLL_INTERVAL);
        }
        let granted = self.store.reserve_messages(channel, free, rate, now).await?;
        if granted == 0 {
            return Ok((Duration::from_secs(1) / rate.max(1)).min(POLL_INTERVAL));
        }
        let claimed_at = self.clock.monotonic();
        let until = now.plus(deadline).plus(LEASE_MARGIN);
        for message in self.store.claim_messages(channel, granted, now, until).await? {
            let (delivery, state, route) = (self.clone(), state.clone(), route.clone());
            attempts.spawn(async move {
                let waited = delivery.clock.monotonic().since(claimed_at);
                // A process that was suspended in the meantime may have lost the lease.
                if waited < LEASE_MARGIN / 2 {
                    delivery.attempt(&state, &route, message).await;
                }
            });
        }
        Ok(Duration::from_millis(1))
    }

    /// Sends one message and stores the outcome.
    async fn attempt(&self, state: &ChannelState, route: &Route, message: ClaimedMessage) {
        let content = message.content.as_ref().and_then(|json| Content::of_json(json));
        let result = match &content {
            None => Err(SendError::Rejected("the stored text cannot be read".to_owned())),
            Some(content) => {
                self.send(route, &message, content).await.map_err(|error| error.without(&content.to))
            }
        };
        if let Err(error) = self.store_outcome(state, &message, content.as_ref(), &result).await {
            // The lease will end. The message is then sent again, or its outcome is doubtful.
            tracing::warn!(%error, message_id = message.id, "cannot store the outcome of a message");
        }
        match &result {
            Err(SendError::Unavailable(why)) => {
                let now = self.clock.monotonic();
                // Concurrent attempts that fail together count as one failure.
                let is_paused = state.paused_until.load(Ordering::Acquire) > now.millis();
                let failures = state.failures.fetch_add(u32::from(!is_paused), Ordering::AcqRel) + 1;
                let until = now.plus(backoff::before_reconnect(failures, &*self.entropy));
                state.paused_until.fetch_max(until.millis(), Ordering::AcqRel);
                let channel = state.channel.name();
                tracing::warn!(channel, failures, "messages cannot be sent, and wait: {why}");
            }
            // Neither says that the server works again.
            Err(SendError::LeaseLost | SendError::Doubtful(_)) => {}
            _ => state.failures.store(0, Ordering::Release),
        }
    }

    async fn send(
        &self,
        route: &Route,
        message: &ClaimedMessage,
        content: &Content,
    ) -> Result<(), SendError> {
        if let Some(sink) = &self.sink {
            sink.deliver(&DeliveredMessage::new(route.channel(), message, content));
            return Ok(());
        }
        let now = self.clock.now();
        match route {
            Route::Mail(mail) => self.send_mail(mail, message, content, now).await,
            Route::Sms(_) if message.is_doubtful => {
                Err(SendError::Doubtful("a node stopped during the request".to_owned()))
            }
            Route::Sms(sms) => {
                self.begin_transmission(message).await?;
                let sending = self.sms.send(sms, content, now);
                let late = || Err(SendError::Doubtful(SendError::timeout(sms.timeout).to_string()));
                timeout(sms.timeout, sending).await.unwrap_or_else(|_| late())
            }
        }
    }

    async fn send_mail(
        &self,
        mail: &Mail,
        message: &ClaimedMessage,
        content: &Content,
        now: Timestamp,
    ) -> Result<(), SendError> {
        let MailTransport::Smtp(server) = &mail.transport else {
            content.log();
            return Ok(());
        };
        let text = mime::format(mail, &message.id, content, now)?;
        if message.is_doubtful {
            tracing::info!(message_id = message.id, "an e-mail whose outcome is unknown is sent again");
        }
        let deadline = Instant::now() + mail.timeout;
        let mut connection = self.begin(mail, server, &content.to, deadline).await?;
        self.begin_transmission(message).await?;
        let late = || Err(SendError::Doubtful(SendError::timeout(mail.timeout).to_string()));
        let sent = timeout_at(deadline, connection.transmit(&text)).await.unwrap_or_else(|_| late());
        if sent.is_ok() && connection.is_reusable(server) {
            self.idle_connections().push(connection);
        }
        sent
    }

    /// Returns a connection on which the server waits for the text of the message.
    async fn begin(
        &self,
        mail: &Mail,
        server: &SmtpServer,
        to: &str,
        deadline: Instant,
    ) -> Result<smtp::Connection, SendError> {
        // A server that accepts no session is unavailable. A server that does not respond for one
        // recipient may respond for others.
        let late = || Err(SendError::Postponed(SendError::timeout(mail.timeout).to_string()));
        let idle = self.idle_connections().pop().filter(|connection| connection.is_reusable(server));
        if let Some(mut connection) = idle {
            let begun = timeout_at(deadline, connection.begin(mail, to)).await.unwrap_or_else(|_| late());
            match begun {
                Ok(()) => return Ok(connection),
                // The server may have closed an idle session. Nothing was sent in this case.
                Err(SendError::Postponed(_)) if connection.is_broken() => {}
                Err(error) => return Err(error),
            }
        }
        let opened = timeout_at(deadline, smtp::Connection::open(server)).await;
        let mut connection = opened.unwrap_or_else(|_| Err(SendError::timeout(mail.timeout)))?;
        timeout_at(deadline, connection.begin(mail, to)).await.unwrap_or_else(|_| late())?;
        Ok(connection)
    }

    /// Records that the text is about to be transmitted. If the node stops now, the outcome is
    /// doubtful.
    async fn begin_transmission(&self, message: &ClaimedMessage) -> Result<(), SendError> {
        match self.store.begin_transmission(message, self.clock.now()).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(SendError::LeaseLost),
            Err(error) => Err(SendError::Unavailable(format!("the database: {error}"))),
        }
    }

    fn idle_connections(&self) -> std::sync::MutexGuard<'_, Vec<smtp::Connection>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn store_outcome(
        &self,
        state: &ChannelState,
        message: &ClaimedMessage,
        content: Option<&Content>,
        result: &Result<(), SendError>,
    ) -> Result<(), StoreError> {
        let channel = state.channel.name();
        let count = |outcome| metrics::count(channel, &message.event, outcome);
        let failures = message.attempts.saturating_add(1);
        if result.is_ok() {
            // This is stored before anything else can fail: otherwise the message would be sent
            // again.
            self.store.finish_message(message).await?;
        }
        let next = self.store.time().await?.plus(backoff::before_retry(failures, &*self.entropy));
        match result {
            Ok(()) => {
                count(Outcome::Sent);
                if let (Channel::Sms, Some(content)) = (state.channel, content) {
                    metrics::count_sms(&content.to);
                }
            }
            // The message did not cause this failure. Another message is tried first.
            Err(SendError::Unavailable(_)) => {
                let soon = self.store.time().await?.plus(UNAVAILABLE_DELAY);
                self.store.postpone_message(message, soon, message.attempts, message.is_doubtful).await?;
            }
            Err(SendError::Postponed(why)) => {
                tracing::info!(channel, message_id = message.id, failures, "a message is sent later: {why}");
                self.store.postpone_message(message, next, failures, message.is_doubtful).await?;
                count(Outcome::Postponed);
            }
            Err(error @ SendError::Doubtful(_)) => {
                log_doubtful(channel, message, error);
                count(Outcome::Doubtful);
                match state.channel {
                    Channel::Email => drop(self.store.postpone_message(message, next, failures, true).await?),
                    Channel::Sms => drop(self.store.bury_message(message, &error.to_string()).await?),
                }
            }
            Err(SendError::Rejected(why)) => {
                self.store.bury_message(message, why).await?;
                count(Outcome::Dead);
                log_failed(channel, message, why);
            }
            Err(SendError::LeaseLost) => {}
        }
        Ok(())
    }

    /// Deletes messages whose codes have expired, and updates the metric for the oldest pending
    /// message.
    async fn expire(&self) {
        let config = self.catalogue.load().config.clone();
        if config.mail.is_none() && config.sms.is_none() {
            return;
        }
        let work = async {
            let now = self.store.time().await?;
            for (channel, event, state) in self.store.drop_expired_messages(now).await? {
                // A dead message was already counted and logged.
                if state == "pending" {
                    metrics::count(&channel, &event, Outcome::Expired);
                    tracing::warn!(
                        target: "audit",
                        event = "message_expired",
                        channel,
                        message_event = event,
                        "a message was not sent before its code expired"
                    );
                }
            }
            for channel in [Channel::Email, Channel::Sms] {
                let oldest = self.store.oldest_message(channel.name()).await?;
                metrics::set_oldest(channel, oldest.map_or(Duration::ZERO, |oldest| now.since(oldest)));
            }
            Ok::<_, StoreError>(())
        };
        if let Err(error) = work.await {
            tracing::warn!(%error, "failed to delete expired messages");
        }
    }
}

fn log_doubtful(channel: &str, message: &ClaimedMessage, error: &SendError) {
    tracing::warn!(
        target: "audit",
        event = "message_doubtful",
        channel,
        message_id = message.id,
        message_event = message.event,
        pool = message.pool,
        "it is unknown whether a message was sent: {error}"
    );
}

fn log_failed(channel: &str, message: &ClaimedMessage, why: &str) {
    tracing::warn!(
        target: "audit",
        event = "message_failed",
        channel,
        error = why,
        message_id = message.id,
        message_event = message.event,
        pool = message.pool,
        "a message was refused for good; help: `narthex messages list` shows it, `narthex messages retry` sends it again"
    );
}
