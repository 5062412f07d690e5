//! The web server: one loopback port a role, connections that can be cut, and the way of a call through faults and journal.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request, connect_info::Connected},
    http::{Response, StatusCode},
    serve::{IncomingStream, Listener},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::{
    Shared, arm,
    call::{Call, Reply, Role},
    faults::{FaultEffect, Moment, Wait, faulty_reply, throttled},
    kubernetes, pipeline, service_bus_rest,
};

/// A longer body is refused with 413.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Serves `role` on `listener` until the task is aborted.
pub(super) fn serve(listener: TcpListener, role: Role, shared: Arc<Shared>) -> JoinHandle<()> {
    let app = Router::new().fallback(move |ConnectInfo(cut): ConnectInfo<Cut>, request: Request| {
        let shared = Arc::clone(&shared);
        async move {
            // Azure goes on when the caller has gone; this future would be dropped then.
            let answered = tokio::spawn(answer(shared, role, cut, request)).await;
            answered.unwrap_or_else(|_| Reply::empty(StatusCode::INTERNAL_SERVER_ERROR).into_response())
        }
    });
    tokio::spawn(async move {
        let served = axum::serve(CuttableListener(listener), app.into_make_service_with_connect_info::<Cut>()).await;
        if let Err(problem) = served {
            tracing::error!(?role, %problem, "the simulated Azure has stopped serving");
        }
    })
}

async fn answer(shared: Arc<Shared>, role: Role, cut: Cut, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, BODY_BYTES_MAX).await;
    let too_large = body.is_err();
    let call = Call::new(role, parts.method, &parts.uri, parts.headers, body.unwrap_or_default());

    let fault = shared.faults().take(&call);
    let identity = call.bearer_token().and_then(|token| shared.world().identities.who(token).map(str::to_owned));
    let number = shared.journal().arrived(&call, shared.clock.now(), identity, fault.as_ref().map(FaultEffect::name));

    let out_of_reach = role == Role::Kubernetes && kubernetes::is_out_of_reach(&shared.world(), &call);
    let ending = if shared.stopped.load(Ordering::Relaxed) || out_of_reach {
        Ending::Cut { effects: 0 }
    } else if too_large {
        Ending::Reply(Reply::error(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestEntityTooLarge",
            "The request body is larger than 1 MiB.",
        ))
    } else {
        meet(&shared, &call, fault.as_ref()).await
    };
    match ending {
        Ending::Reply(reply) => {
            shared.journal().answered(number, Some(reply.status.as_u16()), reply.effects);
            reply.into_response()
        }
        Ending::Cut { effects } => {
            shared.journal().answered(number, None, effects);
            cut.cut();
            Reply::empty(StatusCode::OK).into_response()
        }
    }
}

enum Ending {
    Reply(Reply),
    /// The connection is reset; not even a status is sent.
    Cut {
        effects: u32,
    },
}

/// A fault before, the work itself, a fault after.
async fn meet(shared: &Shared, call: &Call, fault: Option<&FaultEffect>) -> Ending {
    match fault {
        Some(FaultEffect::Throttle { retry_after_seconds }) => return Ending::Reply(throttled(*retry_after_seconds)),
        Some(FaultEffect::Status { moment: Moment::BeforeEffect, status, body }) => {
            return Ending::Reply(faulty_reply(*status, body));
        }
        Some(FaultEffect::Reset { moment: Moment::BeforeEffect }) => return Ending::Cut { effects: 0 },
        Some(FaultEffect::Delay { moment: Moment::BeforeEffect, wait }) => pause(shared, *wait).await,
        Some(FaultEffect::RedirectElsewhere { status }) => {
            let base = shared.url(Role::Stranger).as_str().trim_end_matches('/').to_owned();
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::TEMPORARY_REDIRECT);
            return Ending::Reply(Reply::empty(status).with_header("location", format!("{base}{}", call.path_and_query)));
        }
        Some(
            FaultEffect::Status { moment: Moment::AfterEffect, .. }
            | FaultEffect::Reset { moment: Moment::AfterEffect }
            | FaultEffect::Delay { moment: Moment::AfterEffect, .. }
            | FaultEffect::OperationFails { .. }
            | FaultEffect::OperationUrlElsewhere,
        )
        | None => {}
    }
    let reply = work(shared, call, fault).await;
    match fault {
        Some(FaultEffect::Status { moment: Moment::AfterEffect, status, body }) => {
            Ending::Reply(faulty_reply(*status, body).with_effects(reply.effects))
        }
        Some(FaultEffect::Reset { moment: Moment::AfterEffect }) => Ending::Cut { effects: reply.effects },
        Some(FaultEffect::Delay { moment: Moment::AfterEffect, wait }) => {
            pause(shared, *wait).await;
            Ending::Reply(reply)
        }
        _ => Ending::Reply(reply),
    }
}

async fn pause(shared: &Shared, wait: Wait) {
    match wait {
        Wait::Virtual(duration) => shared.clock.sleep(duration).await,
        Wait::Real(duration) => tokio::time::sleep(duration).await,
    }
}

async fn work(shared: &Shared, call: &Call, twist: Option<&FaultEffect>) -> Reply {
    match call.role {
        Role::ResourceManager => {
            let now = shared.clock.now();
            let places = arm::Places {
                here: shared.url(Role::ResourceManager),
                elsewhere: shared.url(Role::Stranger),
                clusters: shared.url(Role::Kubernetes),
            };
            arm::answer(&mut shared.settled_world(), call, now, places, twist)
        }
        Role::Kubernetes => kubernetes::answer_api(&mut shared.settled_world(), call, shared.clock.now()),
        Role::Identity => shared.world().identities.answer(call),
        Role::ServiceBus => wait_for_message(shared, call).await,
        Role::AzureDevOps | Role::GitHub => {
            let now = shared.clock.now();
            pipeline::answer(&mut shared.settled_world(), call, now, shared.url(call.role), twist)
        }
        Role::Stranger => Reply::json(StatusCode::OK, &serde_json::json!({ "says": "no part of Azure" })),
    }
}

/// A receive waits up to its `timeout`, in real seconds; everything else is answered at once.
async fn wait_for_message(shared: &Shared, call: &Call) -> Reply {
    let wait_seconds = call.parameter("timeout").and_then(|text| text.parse().ok()).unwrap_or(RECEIVE_SECONDS_MAX);
    let until = Instant::now() + Duration::from_secs(wait_seconds.min(RECEIVE_SECONDS_MAX));
    loop {
        let now = shared.clock.now();
        let reply = service_bus_rest::answer(&mut shared.settled_world(), call, now, shared.url(Role::ServiceBus));
        let nothing_yet = reply.status == StatusCode::NO_CONTENT && service_bus_rest::is_receive(call);
        if !nothing_yet || Instant::now() >= until || shared.stopped.load(Ordering::Relaxed) {
            return reply;
        }
        // Looked for often rather than announced: a message may also become due by a clock that nobody here can wait for.
        tokio::time::sleep(LOOK_EVERY.min(until.saturating_duration_since(Instant::now()))).await;
    }
}

const RECEIVE_SECONDS_MAX: u64 = 60;
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Whether a connection is to be reset at its next write.
#[derive(Debug, Clone, Default)]
struct Cut(Arc<AtomicBool>);

impl Cut {
    fn cut(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_cut(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Connected<IncomingStream<'_, CuttableListener>> for Cut {
    fn connect_info(stream: IncomingStream<'_, CuttableListener>) -> Self {
        stream.io().cut.clone()
    }
}

struct CuttableListener(TcpListener);

impl Listener for CuttableListener {
    type Io = CuttableStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        (CuttableStream { stream, cut: Cut::default() }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

struct CuttableStream {
    stream: TcpStream,
    cut: Cut,
}

impl CuttableStream {
    /// The error makes the web server drop the connection; without lingering that sends a reset instead of an end.
    fn broken(&self) -> Option<io::Error> {
        self.cut.is_cut().then(|| {
            let _best_effort = self.stream.set_zero_linger();
            io::Error::from(io::ErrorKind::ConnectionReset)
        })
    }
}

impl AsyncRead for CuttableStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for CuttableStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.broken() {
            Some(error) => Poll::Ready(Err(error)),
            None => Pin::new(&mut self.stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.broken() {
            Some(error) => Poll::Ready(Err(error)),
            None => Pin::new(&mut self.stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.broken() {
            Some(error) => Poll::Ready(Err(error)),
            None => Pin::new(&mut self.stream).poll_shutdown(context),
        }
    }
}
