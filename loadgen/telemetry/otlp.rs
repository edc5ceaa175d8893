//! Sends the numbers of a running load to an OpenTelemetry collector on this machine: OTLP over HTTP, protobuf.
//!
//! The SDK's reader exports from a thread of its own every few seconds and once more at the end. The protocol knows no
//! summary that this side fills, so a quantile is a gauge with the attribute `quantile`, beside `.sum` and `.count`.

use super::numbers::{Family, Kind, Numbers, QUANTILES, Sample, Value};
use crate::cli::is_this_machine;
use crate::collector::Glance;
use crate::exit::Failure;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Meter, MeterProvider as _};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{MetricExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

/// How often numbers are sent.
const EVERY: Duration = Duration::from_secs(5);
/// How long a collector may take for one export.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest answer that is read: a partial success has a message.
const LONGEST_ANSWER: usize = 64 << 10;
/// Where collectors take metrics, from the specification of OTLP/HTTP.
const PATH: &str = "/v1/metrics";

/// A connection to a collector. End it with [`Otlp::shutdown`], or the last numbers are sent while it is dropped.
#[derive(Debug)]
pub struct Otlp {
    provider: SdkMeterProvider,
    latest: Arc<Mutex<Numbers>>,
    known: AtomicBool,
    lost: Arc<AtomicU64>,
}

impl Otlp {
    /// Starts to send to a collector, `http://HOST:PORT` with or without a path. Needs a runtime of more than one thread,
    /// whose handle is that of the caller.
    ///
    /// # Errors
    /// Usage, when the endpoint is none, or not on this machine.
    pub fn start(endpoint: &str) -> Result<Self, Failure> {
        let endpoint = resolved(endpoint)?;
        let lost = Arc::new(AtomicU64::new(0));
        let exporter = MetricExporter::builder()
            .with_http()
            .with_http_client(Client { runtime: Handle::current(), lost: lost.clone() })
            .with_endpoint(endpoint.to_string())
            .with_timeout(PATIENCE)
            .build()
            .map_err(|fault| Failure::usage(format!("cannot send metrics to {endpoint}: {fault}")))?;
        let reader = PeriodicReader::builder(exporter).with_interval(EVERY).build();
        let resource = Resource::builder_empty()
            .with_attribute(KeyValue::new("service.name", "rollcall"))
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkMeterProvider::builder().with_reader(reader).with_resource(resource).build();
        Ok(Otlp { provider, latest: Arc::default(), known: AtomicBool::new(false), lost })
    }

    /// Takes how it stands; it is sent with the next export.
    pub fn update(&self, glance: &Glance<'_>) {
        let numbers = Numbers::of(glance);
        let families: Vec<Family> = match self.known.swap(true, Ordering::Relaxed) {
            true => Vec::new(),
            false => numbers.families.clone(),
        };
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = numbers;
        let meter = self.provider.meter("rollcall");
        for (at, family) in families.iter().enumerate() {
            Instrument { meter: &meter, latest: &self.latest, at }.register(family);
        }
    }

    /// Exports that did not arrive.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Sends the last numbers and ends; returns how many exports did not arrive.
    pub async fn shutdown(self) -> u64 {
        let lost = self.lost.clone();
        // It blocks until the last export is done. That it failed is counted.
        let _ = tokio::task::spawn_blocking(move || self.provider.shutdown()).await;
        lost.load(Ordering::Relaxed)
    }
}

/// The address that metrics are sent to.
fn resolved(endpoint: &str) -> Result<Uri, Failure> {
    let fault = |why: &str| {
        Failure::usage(format!("cannot send metrics to `{endpoint}`: {why}"))
            .advise("Name a collector on this machine, for instance http://127.0.0.1:4318.")
    };
    let uri: Uri = endpoint.parse().map_err(|_| fault("it is no address"))?;
    if uri.scheme_str() != Some("http") {
        return Err(fault("it is not http"));
    }
    if !uri.host().is_some_and(is_this_machine) {
        return Err(fault("it is not on this machine"));
    }
    match uri.path() {
        "" | "/" => {
            let mut parts = uri.into_parts();
            parts.path_and_query = Some(hyper::http::uri::PathAndQuery::from_static(PATH));
            Uri::from_parts(parts).map_err(|_| fault("it is no address"))
        }
        _ => Ok(uri),
    }
}

/// One family as instruments that look the latest numbers up when they are read.
struct Instrument<'a> {
    meter: &'a Meter,
    latest: &'a Arc<Mutex<Numbers>>,
    at: usize,
}

impl Instrument<'_> {
    fn register(&self, family: &Family) {
        let name = format!("rollcall.run.{}", family.name);
        let unit = if family.unit == "seconds" { "s" } else { "1" };
        match family.kind {
            Kind::Counter => self.counter(name, family.help),
            Kind::Gauge => self.gauge(name, family.help, unit, |value| match value {
                Value::Count(count) => vec![(*count as f64, None)],
                Value::Level(level) => vec![(*level, None)],
                Value::Times { .. } => Vec::new(),
            }),
            Kind::Summary => {
                self.counter(format!("{name}.count"), family.help);
                self.sum(format!("{name}.sum"), family.help);
                self.gauge(name, family.help, unit, |value| match value {
                    Value::Times { quantiles: Some(all), .. } => {
                        all.iter().zip(QUANTILES).map(|(time, quantile)| (*time, Some(quantile))).collect()
                    }
                    _ => Vec::new(),
                });
            }
        }
    }

    /// What the samples of this family are at a moment.
    fn samples(&self) -> impl Fn() -> Vec<Sample> + Send + Sync + 'static {
        let (latest, at) = (self.latest.clone(), self.at);
        move || {
            let numbers = latest.lock().unwrap_or_else(PoisonError::into_inner);
            numbers.families.get(at).map(|family| family.samples.clone()).unwrap_or_default()
        }
    }

    fn counter(&self, name: String, help: &'static str) {
        let samples = self.samples();
        let observe = move |observer: &dyn opentelemetry::metrics::AsyncInstrument<u64>| {
            for sample in samples() {
                if let Value::Count(count) | Value::Times { count, .. } = sample.value {
                    observer.observe(count, &attributes(&sample, None));
                }
            }
        };
        self.meter.u64_observable_counter(name).with_description(help).with_callback(observe).build();
    }

    fn sum(&self, name: String, help: &'static str) {
        let samples = self.samples();
        let observe = move |observer: &dyn opentelemetry::metrics::AsyncInstrument<f64>| {
            for sample in samples() {
                if let Value::Times { sum, .. } = sample.value {
                    observer.observe(sum, &attributes(&sample, None));
                }
            }
        };
        self.meter
            .f64_observable_counter(name)
            .with_unit("s")
            .with_description(help)
            .with_callback(observe)
            .build();
    }

    fn gauge(
        &self,
        name: String,
        help: &'static str,
        unit: &'static str,
        values: impl Fn(&Value) -> Vec<(f64, Option<f64>)> + Send + Sync + 'static,
    ) {
        let samples = self.samples();
        let observe = move |observer: &dyn opentelemetry::metrics::AsyncInstrument<f64>| {
            for sample in samples() {
                for (value, quantile) in values(&sample.value) {
                    observer.observe(value, &attributes(&sample, quantile));
                }
            }
        };
        self.meter
            .f64_observable_gauge(name)
            .with_unit(unit)
            .with_description(help)
            .with_callback(observe)
            .build();
    }
}

fn attributes(sample: &Sample, quantile: Option<f64>) -> Vec<KeyValue> {
    let own = sample.labels.iter().map(|(key, value)| KeyValue::new(*key, value.clone()));
    own.chain(quantile.map(|quantile| KeyValue::new("quantile", quantile))).collect()
}

/// Posts what the SDK has encoded.
#[derive(Debug)]
struct Client {
    runtime: Handle,
    lost: Arc<AtomicU64>,
}

impl HttpClient for Client {
    // As `async_trait` would write it.
    fn send_bytes<'a, 'f>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'f>>
    where
        'a: 'f,
        Self: 'f,
    {
        // The SDK's thread has no runtime: there it only waits for the task.
        let task = AbortOnDropHandle::new(self.runtime.spawn(post(request)));
        Box::pin(async move {
            let posted = task.await.map_err(HttpError::from).and_then(|posted| posted);
            if !posted.as_ref().is_ok_and(|response| response.status().is_success()) {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
            posted
        })
    }
}

async fn post(request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    tokio::time::timeout(PATIENCE, exchange(request)).await?
}

async fn exchange(request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let (mut parts, body) = request.into_parts();
    let host = parts.uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
    let stream = TcpStream::connect((host.as_str(), parts.uri.port_u16().unwrap_or(80))).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    if let Some(authority) = parts.uri.authority() {
        parts.headers.insert(HOST, HeaderValue::from_str(authority.as_str())?);
    }
    parts.uri = parts.uri.path_and_query().map_or(PATH, |path| path.as_str()).parse()?;
    let response = sender.send_request(Request::from_parts(parts, Full::new(body))).await?;
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, LONGEST_ANSWER).collect().await?.to_bytes();
    Ok(Response::from_parts(parts, body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::live::tests::sight;
    use crate::exit::Exit;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    /// The head and the body of the next request, which is answered with this status.
    async fn taken(listener: &TcpListener, status: &str) -> (String, Vec<u8>) {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut all = Vec::new();
        let (head, length) = loop {
            assert!(stream.read_buf(&mut all).await.expect("a request") > 0, "closed early");
            let Some(end) = all.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let head = String::from_utf8_lossy(&all[..end]).to_ascii_lowercase();
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
            let length: usize = length.parse().expect("a number");
            if all.len() >= end + 4 + length {
                break (head, length);
            }
        };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.expect("answered");
        (head, all[all.len() - length..].to_vec())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_last_numbers_arrive_as_protobuf() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let otlp =
            Otlp::start(&format!("http://{}", listener.local_addr().expect("bound"))).expect("started");
        otlp.update(&sight(1).glance());
        let ((head, body), lost) = tokio::join!(taken(&listener, "200 OK"), otlp.shutdown());
        assert_eq!(lost, 0);
        assert!(head.starts_with("post /v1/metrics http/1.1\r\n"), "{head}");
        assert!(head.contains("content-type: application/x-protobuf"), "{head}");
        for name in ["rollcall.run.arrivals_offered", "rollcall.run.phase.count", "rollcall.run.gate_met"] {
            assert!(body.windows(name.len()).any(|part| part == name.as_bytes()), "{name}");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_a_collector_does_not_take_is_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let otlp = Otlp::start(&format!("http://{}/own/path", listener.local_addr().expect("bound")))
            .expect("started");
        otlp.update(&sight(1).glance());
        let ((head, _), lost) = tokio::join!(taken(&listener, "400 Bad Request"), otlp.shutdown());
        assert!(head.starts_with("post /own/path http/1.1\r\n"), "{head}");
        assert_eq!(lost, 1);
    }

    #[test]
    fn only_a_collector_on_this_machine_is_sent_to() {
        for (endpoint, expected) in [
            ("http://127.0.0.1:4318", Some("http://127.0.0.1:4318/v1/metrics")),
            ("http://localhost:4318/", Some("http://localhost:4318/v1/metrics")),
            ("http://[::1]:4318/v1/metrics", Some("http://[::1]:4318/v1/metrics")),
            ("https://127.0.0.1:4318", None),
            ("http://collector.example.com:4318", None),
            ("127.0.0.1:4318", None),
            ("http://", None),
        ] {
            let found = resolved(endpoint);
            assert_eq!(found.as_ref().ok().map(ToString::to_string).as_deref(), expected, "{endpoint}");
            assert!(found.err().is_none_or(|failure| failure.exit == Exit::Usage));
        }
    }
}
