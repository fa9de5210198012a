//! Requests with all the patience that they are worth.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chunk::{RemoteCause, RemoteFailure};
use tokio::time::{Instant, sleep, timeout_at};

use crate::attempt::{Attempt, Broken};
use crate::backoff::{pause, random};
use crate::clock::now;
use crate::config::{BucketName, S3Config, S3ConfigError, Timeouts, is_region};
use crate::credentials::{CredentialsError, Keys, Provider, profile_region};
use crate::endpoint::{Endpoint, url};
use crate::gate::Gate;
use crate::health::{Health, S3Health};
use crate::limits::{MAX_ATTEMPTS, MIN_BYTES_PER_SECOND};
use crate::metrics::{Counts, S3Metrics};
use crate::request::{Reply, Request};
use crate::sign::Signer;
use crate::verdict::{Progress, Verdict};

/// The region of a store that says nothing of regions.
const DEFAULT_REGION: &str = "us-east-1";

/// A bucket as the threads see it.
#[derive(Debug)]
pub(crate) struct Client {
    /// One for each thread.
    http: Vec<reqwest::Client>,
    bucket: BucketName,
    /// The server, unless it is that of AWS for the region.
    endpoint: Option<Endpoint>,
    path_style: Option<bool>,
    region: Mutex<Arc<str>>,
    provider: Provider,
    gate: Gate,
    timeouts: Timeouts,
    counts: Counts,
    health: Health,
}

/// An answer, and what went before it.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) reply: Reply,
    /// Whether an earlier attempt may have been fulfilled without an answer.
    pub(crate) doubtful: bool,
}

impl Client {
    pub(crate) fn new(config: &S3Config, threads: usize) -> Result<Self, S3ConfigError> {
        config.check()?;
        let environment = &config.environment;
        let variable = |name| environment.get(name).map(str::to_owned);
        let region = config
            .region
            .clone()
            .or_else(|| variable("AWS_REGION"))
            .or_else(|| variable("AWS_DEFAULT_REGION"))
            .or_else(|| profile_region(environment, config.profile.as_deref()))
            .unwrap_or_else(|| DEFAULT_REGION.to_owned());
        if !is_region(&region) {
            return Err(S3ConfigError::Region { region });
        }
        let of_aws = Endpoint::of_aws(&region);
        let http =
            crate::tls::clients(config, config.endpoint.as_ref().unwrap_or(&of_aws), threads)?;
        Ok(Self {
            http,
            bucket: config.bucket.clone(),
            endpoint: config.endpoint.clone(),
            path_style: config.path_style,
            provider: Provider::new(environment.clone(), config.profile.clone(), region.clone()),
            region: Mutex::new(region.into()),
            gate: Gate::new(config.connections),
            timeouts: config.timeouts,
            counts: Counts::default(),
            health: Health::default(),
        })
    }

    /// The server's address.
    pub(crate) fn endpoint(&self) -> Endpoint {
        self.endpoint.clone().unwrap_or_else(|| Endpoint::of_aws(&self.region()))
    }

    /// The region that requests are signed for.
    pub(crate) fn region(&self) -> Arc<str> {
        Arc::clone(&self.region.lock().expect("no holder of this lock panics"))
    }

    pub(crate) fn metrics(&self) -> S3Metrics {
        self.counts.read(self.gate.limit())
    }

    pub(crate) fn health(&self) -> S3Health {
        self.health.read()
    }

    /// Sends a request until it is answered, refused for good, or out of time.
    pub(crate) async fn call(
        &self,
        thread: usize,
        request: &Request,
    ) -> Result<Done, RemoteFailure> {
        let begun = Instant::now();
        let extra = Duration::from_secs(request.load() / MIN_BYTES_PER_SECOND);
        let deadline = begun + self.timeouts.operation + extra;
        let counts = self.counts.of(request.op);
        let mut progress = Progress::default();
        let mut before = None;
        loop {
            progress.attempts += 1;
            let mut keys = None;
            let outcome = self.attempt(thread, request, deadline, &mut progress, &mut keys).await;
            let verdict = match outcome {
                Ok(reply) => progress.judge(request, reply, &self.region(), now()),
                Err(broken) => {
                    progress.doubtful |= broken.doubtful;
                    match progress.hopeless {
                        true => Verdict::Refused(broken.cause),
                        false => Verdict::Again(broken.cause),
                    }
                }
            };
            let (cause, again) = match verdict {
                Verdict::Done(reply) => {
                    self.gate.succeeded();
                    self.health.succeeded();
                    return Ok(Done { reply, doubtful: progress.doubtful });
                }
                Verdict::Overloaded(cause) => {
                    counts.slowdowns.add(1);
                    self.gate.overloaded();
                    (cause, Some(pause(progress.attempts + 1, random())))
                }
                Verdict::Again(cause) => (cause, Some(pause(progress.attempts + 1, random()))),
                Verdict::Moved(region, cause) => {
                    self.move_to(&region);
                    (cause, Some(Duration::ZERO))
                }
                Verdict::Denied(cause) => {
                    let others = self.has_others(&mut progress, keys.as_ref()).await;
                    (cause, others.then_some(Duration::ZERO))
                }
                Verdict::Refused(cause) => (cause, None),
            };
            counts.failures.add(1);
            self.health.failed(&cause, now());
            let in_time = again.filter(|pause| Instant::now() + *pause < deadline);
            let Some(pause) = in_time.filter(|_| progress.attempts < MAX_ATTEMPTS) else {
                counts.errors.add(1);
                let (attempts, elapsed) = (progress.attempts, begun.elapsed());
                // An attempt that was cut short by the end says less than the one before it.
                let cut_short = matches!(&cause, RemoteCause::Timeout { limit, .. } if *limit < self.timeouts.attempt);
                let cause = before.filter(|_| cut_short).unwrap_or(cause);
                return Err(RemoteFailure { cause, attempts, elapsed });
            };
            log::debug!("{} will be tried again: {cause}", request.op.name());
            counts.retries.add(1);
            before = Some(cause);
            sleep(pause).await;
        }
    }

    /// Waits for a turn, signs, sends.
    async fn attempt(
        &self,
        thread: usize,
        request: &Request,
        deadline: Instant,
        progress: &mut Progress,
        used: &mut Option<Arc<Keys>>,
    ) -> Result<Reply, Broken> {
        let unsent = |cause| Broken { cause, doubtful: false };
        let late = |what| {
            let limit = self.timeouts.operation;
            move |_| unsent(RemoteCause::Timeout { what, limit })
        };
        let keys = timeout_at(deadline, self.provider.keys()).await.map_err(late("credentials"))?;
        let keys = keys.map_err(|error| {
            progress.hopeless = !matches!(
                error,
                CredentialsError::Unreachable { .. } | CredentialsError::Status { .. }
            );
            unsent(RemoteCause::Credentials { source: Box::new(error) })
        })?;
        *used = Some(Arc::clone(&keys));
        let turn = timeout_at(deadline, self.gate.pass()).await;
        let _turn = turn.map_err(late("turn for the network"))?;
        let (endpoint, region) = (self.endpoint(), self.region());
        let path_style = self.path_style.unwrap_or(self.endpoint.is_some())
            || !endpoint.takes_bucket(&self.bucket);
        let url = url(&endpoint, &self.bucket, path_style, request.key.as_deref(), &request.query);
        let signer =
            Signer { keys: &keys, region: &region, now: now(), sign_body: !endpoint.is_secure() };
        let headers = signer.headers(request, &url).map_err(unsent)?;
        let extra = Duration::from_secs(request.load() / MIN_BYTES_PER_SECOND);
        let limit = (self.timeouts.attempt + extra).min(deadline - Instant::now());
        let (http, timeouts) = (&self.http[thread], self.timeouts);
        let counts = self.counts.of(request.op);
        counts.requests.add(1);
        counts.bytes_sent.add(request.body.len() as u64);
        let attempt = Attempt { http, request, url: &url, headers, timeouts, limit };
        let reply = attempt.run().await?;
        counts.bytes_received.add(reply.body.len() as u64);
        Ok(reply)
    }

    /// The bucket is in another region.
    fn move_to(&self, region: &str) {
        log::info!("bucket {} is in region {region}", self.bucket.as_str());
        *self.region.lock().expect("no holder of this lock panics") = region.into();
    }

    /// Whether there are keys that the server has not turned down; looked for once.
    async fn has_others(&self, progress: &mut Progress, bad: Option<&Arc<Keys>>) -> bool {
        let first = !std::mem::replace(&mut progress.looked_for_keys, true);
        match bad.filter(|_| first) {
            Some(bad) => self.provider.others(bad).await.is_some(),
            None => false,
        }
    }
}
