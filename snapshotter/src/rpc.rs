//! The gRPC service: a method of containerd's service leads to a function of `calls`, which runs on a thread of its own.

use std::convert::Infallible;
use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use prost::Message;
use sharedroot_sys::chain::chain;
use sharedroot_task::messages::snapshots::SERVICE;
use tokio::sync::Semaphore;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService, ServerStreamingService, UnaryService};
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::calls;
use crate::error::Error;
use crate::snapshots::Snapshots;

/// How many calls wait for the disk or for device-mapper at a time. Further calls wait for their turn.
pub const MAX_CALLS: usize = 16;

/// The service.
#[derive(Debug, Clone)]
pub struct Rpc {
    snapshots: Arc<Snapshots>,
    turns: Arc<Semaphore>,
}

impl Rpc {
    /// The service of these snapshots.
    #[must_use]
    pub fn new(snapshots: Arc<Snapshots>) -> Self {
        Self { snapshots, turns: Arc::new(Semaphore::new(MAX_CALLS)) }
    }

    /// Answers a request by its path, `/SERVICE/METHOD`.
    async fn answer(self, request: http::Request<Body>) -> http::Response<Body> {
        let path = request.uri().path().to_owned();
        let method = path.strip_prefix('/').and_then(|path| path.strip_prefix(SERVICE));
        match method.and_then(|rest| rest.strip_prefix('/')).unwrap_or_default() {
            "Prepare" => self.unary("Prepare", request, calls::prepare).await,
            "View" => self.unary("View", request, calls::view).await,
            "Mounts" => self.unary("Mounts", request, calls::mounts).await,
            "Commit" => self.unary("Commit", request, calls::commit).await,
            "Remove" => self.unary("Remove", request, calls::remove).await,
            "Stat" => self.unary("Stat", request, calls::stat).await,
            "Update" => self.unary("Update", request, calls::update).await,
            "List" => self.streaming("List", request, calls::list).await,
            "Usage" => self.unary("Usage", request, calls::usage).await,
            "Cleanup" => self.unary("Cleanup", request, calls::cleanup).await,
            _ => Status::unimplemented(format!("there is no method {path}")).into_http(),
        }
    }

    async fn unary<Q, A>(
        self,
        method: &'static str,
        request: http::Request<Body>,
        act: fn(&Snapshots, Q) -> Result<A, Error>,
    ) -> http::Response<Body>
    where
        Q: Message + Default + Debug + 'static,
        A: Message + Default + 'static,
    {
        let call = Call(|request: Q| self.clone().run(method, request, act));
        Grpc::new(ProstCodec::<A, Q>::default()).unary(call, request).await
    }

    async fn streaming<Q, A>(
        self,
        method: &'static str,
        request: http::Request<Body>,
        act: fn(&Snapshots, Q) -> Result<Vec<A>, Error>,
    ) -> http::Response<Body>
    where
        Q: Message + Default + Debug + 'static,
        A: Message + Default + 'static,
    {
        let call = Parts(|request: Q| self.clone().run(method, request, act));
        Grpc::new(ProstCodec::<A, Q>::default()).server_streaming(call, request).await
    }

    /// Runs a call on a thread that may wait.
    async fn run<Q: Message + Debug + 'static, A: Send + 'static>(
        self,
        method: &'static str,
        request: Q,
        act: fn(&Snapshots, Q) -> Result<A, Error>,
    ) -> Result<A, Status> {
        let turn = self.turns.acquire_owned().await.map_err(|_| status(&Error::Ends))?;
        let snapshots = self.snapshots;
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let began = Instant::now();
            let told = tracing::enabled!(tracing::Level::DEBUG).then(|| format!("{request:?}"));
            let done = act(&snapshots, request);
            if let Some(request) = told {
                let took = began.elapsed().as_secs_f64() * 1e3;
                let end = done.as_ref().err().map_or("done".to_owned(), |error| chain(error));
                tracing::debug!("took {took:.3} ms: {method} {request}: {end}");
            }
            done
        });
        match done.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(status(&error)),
            // The thread panicked; the panic was reported.
            Err(_) => Err(Status::internal(format!("{method} ended early"))),
        }
    }
}

/// What containerd gets. What only an administrator can mend is in this program's log, too.
fn status(error: &Error) -> Status {
    let (code, text) = (Code::from(error.code() as i32), chain(error));
    if code == Code::Internal || code == Code::ResourceExhausted {
        tracing::error!("{text}");
    }
    Status::new(code, text)
}

impl NamedService for Rpc {
    const NAME: &'static str = SERVICE;
}

impl Service<http::Request<Body>> for Rpc {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let rpc = self.clone();
        Box::pin(async move { Ok(rpc.answer(request).await) })
    }
}

/// A method with one answer.
struct Call<F>(F);

impl<Q, A, F, W> UnaryService<Q> for Call<F>
where
    F: FnMut(Q) -> W,
    W: Future<Output = Result<A, Status>> + Send + 'static,
    A: 'static,
{
    type Response = A;
    type Future = BoxFuture<Response<A>, Status>;

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let answer = (self.0)(request.into_inner());
        Box::pin(async move { answer.await.map(Response::new) })
    }
}

/// A method whose answer has parts.
struct Parts<F>(F);

impl<Q, A, F, W> ServerStreamingService<Q> for Parts<F>
where
    F: FnMut(Q) -> W,
    W: Future<Output = Result<Vec<A>, Status>> + Send + 'static,
    A: Send + 'static,
{
    type Response = A;
    type ResponseStream = tokio_stream::Iter<std::vec::IntoIter<Result<A, Status>>>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let parts = (self.0)(request.into_inner());
        let stream = |parts: Vec<A>| {
            let parts: Vec<_> = parts.into_iter().map(Ok).collect();
            Response::new(tokio_stream::iter(parts))
        };
        Box::pin(async move { parts.await.map(stream) })
    }
}
