//! Serves the numbers of a running load over HTTP, to this machine alone.

use super::numbers::Numbers;
use super::prometheus;
use crate::collector::Glance;
use crate::exit::{Exit, Failure};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Who asks has this long for a request.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections served at a time; further ones wait.
const MOST_CONNECTIONS: usize = 32;

/// The metrics of a running load on a loopback port. Dropping it closes the port and every connection.
#[derive(Debug)]
pub struct Metrics {
    addr: SocketAddr,
    page: watch::Sender<Bytes>,
    // Dropped with everything in it; nothing outlives the value.
    _task: JoinSet<()>,
}

impl Metrics {
    /// Listens on a port of 127.0.0.1; 0 is any free one. Until the first update the page is empty.
    ///
    /// # Errors
    /// Unreachable, when the port cannot be had.
    pub async fn serve(port: u16) -> Result<Self, Failure> {
        let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let cannot = |error: std::io::Error| {
            Failure::new(Exit::Unreachable, format!("cannot serve metrics on {wanted}: {error}"))
                .advise("Name a free port with --metrics-port, or 0 for any.")
        };
        let listener = TcpListener::bind(wanted).await.map_err(cannot)?;
        let addr = listener.local_addr().map_err(cannot)?;
        let (page, latest) = watch::channel(Bytes::new());
        let mut task = JoinSet::new();
        task.spawn(accept(listener, latest));
        Ok(Metrics { addr, page, _task: task })
    }

    /// Where it listens; the page is `/metrics`.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The address of the page.
    pub fn url(&self) -> String {
        format!("http://{}/metrics", self.addr)
    }

    /// Shows how it stands.
    pub fn update(&self, glance: &Glance<'_>) {
        self.page.send_replace(Bytes::from(prometheus::render(&Numbers::of(glance))));
    }
}

async fn accept(listener: TcpListener, page: watch::Receiver<Bytes>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MOST_CONNECTIONS => match accepted {
                Ok((stream, _)) => drop(connections.spawn(serve(stream, page.clone()))),
                // Out of descriptors, most likely: wait for some to come free instead of spinning.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn serve(stream: TcpStream, page: watch::Receiver<Bytes>) {
    let service = service_fn(|request| {
        let answer = answer(&request, &page.borrow());
        async { Ok::<_, Infallible>(answer) }
    });
    let mut connection = http1::Builder::new();
    connection.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    // Who breaks HTTP has hurt only itself.
    let _ = connection.serve_connection(TokioIo::new(stream), service).await;
}

fn answer(request: &Request<Incoming>, page: &Bytes) -> Response<Full<Bytes>> {
    let (status, body) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => (StatusCode::OK, page.clone()),
        (_, "/metrics") => (StatusCode::METHOD_NOT_ALLOWED, Bytes::from_static(b"GET is what there is\n")),
        _ => (StatusCode::NOT_FOUND, Bytes::from_static(b"the page is /metrics\n")),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(prometheus::CONTENT_TYPE));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::live::tests::sight;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// What is answered to these bytes.
    async fn asked(addr: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(addr).await.expect("a connection");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    }

    fn get(path: &str, method: &str) -> String {
        format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    }

    #[tokio::test]
    async fn the_latest_numbers_are_served_and_nothing_else() {
        let metrics = Metrics::serve(0).await.expect("a port");
        assert!(metrics.addr().ip().is_loopback());
        metrics.update(&sight(1).glance());
        metrics.update(&sight(2).glance());
        for (path, method, status, holds) in [
            ("/metrics", "GET", "200", "\nrollcall_run_arrivals_offered_total 29040\n"),
            ("/metrics", "HEAD", "200", "\r\n\r\n"),
            ("/metrics", "POST", "405", "allow: GET, HEAD\r\n"),
            ("/", "GET", "404", "/metrics"),
        ] {
            let answer = asked(metrics.addr(), &get(path, method)).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{method} {path}: {answer}");
            assert!(answer.contains(holds), "{method} {path}: {answer}");
        }
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_told_and_one_that_was_dropped_is_free() {
        let first = Metrics::serve(0).await.expect("a port");
        let addr = first.addr();
        let refused = Metrics::serve(addr.port()).await.expect_err("it is taken");
        assert_eq!(refused.exit, Exit::Unreachable);
        let mut open = TcpStream::connect(addr).await.expect("a connection");
        drop(first);
        let mut rest = Vec::new();
        // The connection is closed or reset; either way nothing more comes of it.
        let _ = open.read_to_end(&mut rest).await;
        assert!(rest.is_empty());
    }
}
