//! From the bytes of a complete head to what must be done about it.

use std::num::NonZeroU64;

use super::accept::{Accept, Format};
use super::body::Body;
use super::config::{Config, Serves};
use super::fields::{self, ConnectionOption, Expectation};
use super::head::{Method, RequestLine, Version};
use super::refusal::{Allow, Refusal};
use super::target::{self, Target};

/// A request that only the server can answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// A client wants this many consecutive IDs.
    TakeIds {
        /// How many.
        count: NonZeroU64,
    },
    /// A client wants a page. This is the oldest request without an answer, and no other is returned until it
    /// has one, so it can be answered at once.
    Page(Page),
}

/// A page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Page {
    /// `/healthz`: whether the process is alive and needs no restart.
    Health,
    /// `/readyz`: whether this node can serve now.
    Ready {
        /// `/readyz?leader`: whether it leads.
        leader: bool,
    },
    /// `/status`: what `ticketd status --json` prints.
    Status,
    /// `/metrics`: what Prometheus reads.
    Metrics,
}

/// A request whose head is valid, so it is known where the request ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head<'a> {
    /// What to do once the body has been read.
    pub(super) route: Route<'a>,
    /// How to answer.
    pub(super) form: ResponseForm,
    /// What follows the head.
    pub(super) body: Option<Body>,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub(super) awaits_continue: bool,
}

/// What a request asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Route<'a> {
    /// IDs.
    TakeIds {
        /// How many.
        count: NonZeroU64,
        /// The query of the request, to be kept in a redirect.
        query: Option<&'a [u8]>,
    },
    Page(Page),
    /// The available methods.
    Options(Allow),
    /// A refusal.
    Refused(Refusal),
}

/// An error after which nothing more on the connection is read as a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Fatal {
    /// What is wrong.
    pub(super) refusal: Refusal,
    /// How to write the answer.
    pub(super) form: ResponseForm,
}

/// How a request must be answered, whatever the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ResponseForm {
    /// How IDs are written.
    pub(super) ids: Format,
    /// How errors are written.
    pub(super) problems: Format,
    /// Whether the content is sent.
    pub(super) content: Content,
    /// Whether the connection persists.
    pub(super) persistence: Persistence,
}

/// Whether the content of an answer is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Content {
    Sent,
    /// The answer to HEAD: everything but the content (RFC 9110 §9.3.2).
    Withheld,
}

/// Whether the connection persists after an answer (RFC 9112 §9.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Persistence {
    /// It does, which is the default in HTTP/1.1.
    Keep,
    /// It does, which an HTTP/1.0 client must be told.
    KeepAndSaySo,
    /// It does not.
    Close,
}

impl Fatal {
    /// An error in an incomplete head; `head` is the part that has arrived.
    pub(super) fn in_head(refusal: Refusal, head: &[u8]) -> Fatal {
        let content = if head.starts_with(b"HEAD ") { Content::Withheld } else { Content::Sent };
        Fatal { refusal, form: ResponseForm { content, ..ResponseForm::closing() } }
    }
}

impl ResponseForm {
    /// The form of an error that answers no particular request.
    pub(super) const fn closing() -> ResponseForm {
        ResponseForm {
            ids: Format::Text,
            problems: Format::Text,
            content: Content::Sent,
            persistence: Persistence::Close,
        }
    }
}

/// Parses a complete head, as found by [`HeadScanner`](super::head::HeadScanner): from the request line up to
/// and including the empty line.
pub(super) fn parse<'a>(config: &Config, line: RequestLine, head: &'a [u8]) -> Result<Head<'a>, Fatal> {
    let mut accept = Accept::default();
    let fields = fields::parse(line.version, &head[line.fields_start..], &mut accept);
    let mut form = ResponseForm {
        ids: accept.ids().unwrap_or(Format::Text),
        problems: accept.problems(),
        content: if line.method == Method::Head { Content::Withheld } else { Content::Sent },
        persistence: Persistence::Close,
    };
    let fatal = |refusal| Fatal { refusal, form };
    let fields = fields.map_err(fatal)?;
    let target = target::parse(line.method, &head[line.target_start..line.target_end]).map_err(fatal)?;
    let body = Body::new(fields.framing, config.body_bytes_max).map_err(fatal)?;
    let route = match fields.expectation {
        Expectation::None | Expectation::Continue => route(config, line.method, target),
        Expectation::Unknown => Route::Refused(Refusal::ExpectationFailed),
    };
    let route = match route {
        Route::TakeIds { .. } if accept.ids().is_none() => Route::Refused(Refusal::NotAcceptable),
        Route::TakeIds { .. } | Route::Page(_) | Route::Options(_) | Route::Refused(_) => route,
    };
    if let Route::Refused(refusal) = route
        && body.is_some()
        && fields.expectation != Expectation::None
    {
        // RFC 9110 §10.1.1: after this answer the client may or may not send the body, so the next bytes on
        // the connection could be either the body or a request.
        return Err(fatal(refusal));
    }
    form.persistence = match (fields.connection, line.version) {
        // RFC 9110 §9.3.6: a client that hoped for a tunnel may already have sent something other than HTTP.
        _ if target == Target::Authority => Persistence::Close,
        (ConnectionOption::Close, _) | (ConnectionOption::Unspecified, Version::Http10) => Persistence::Close,
        (ConnectionOption::KeepAlive, Version::Http10) => Persistence::KeepAndSaySo,
        (ConnectionOption::Unspecified | ConnectionOption::KeepAlive, Version::Http11) => Persistence::Keep,
    };
    let awaits_continue = body.is_some() && fields.expectation == Expectation::Continue;
    Ok(Head { route, form, body, awaits_continue })
}

/// Determines what a method and a target ask for.
fn route<'a>(config: &Config, method: Method, target: Target<'a>) -> Route<'a> {
    let (path, query) = match target {
        Target::Server => {
            return Route::Options(match config.serves {
                Serves::Everything => Allow::Server,
                Serves::IdsOnly => Allow::Ids,
                Serves::PagesOnly => Allow::Page,
            });
        }
        Target::Authority => return Route::Refused(Refusal::MethodNotAllowed(Allow::Nothing)),
        Target::Resource { path, query } => (path, query),
    };
    if method == Method::Unknown {
        return Route::Refused(Refusal::MethodUnknown);
    }
    if path == b"/" {
        return if config.serves.ids() {
            ids(config, method, query)
        } else {
            Route::Refused(Refusal::IdsElsewhere)
        };
    }
    match page(path, query) {
        Some(page) if config.serves.pages() => match method {
            Method::Get | Method::Head => Route::Page(page),
            Method::Options => Route::Options(Allow::Page),
            Method::Post
            | Method::Put
            | Method::Delete
            | Method::Connect
            | Method::Trace
            | Method::Patch
            | Method::Unknown => Route::Refused(Refusal::MethodNotAllowed(Allow::Page)),
        },
        Some(_) => Route::Refused(Refusal::PagesElsewhere),
        None => Route::Refused(Refusal::NotFound),
    }
}

fn ids<'a>(config: &Config, method: Method, query: Option<&'a [u8]>) -> Route<'a> {
    match method {
        Method::Post => match target::count(query.unwrap_or_default(), config.batch_max) {
            Ok(count) => Route::TakeIds { count, query },
            Err(refusal) => Route::Refused(refusal),
        },
        Method::Options => Route::Options(Allow::Ids),
        Method::Get | Method::Head => Route::Refused(Refusal::GetInsteadOfPost(Allow::Ids)),
        Method::Put | Method::Delete | Method::Connect | Method::Trace | Method::Patch | Method::Unknown => {
            Route::Refused(Refusal::MethodNotAllowed(Allow::Ids))
        }
    }
}

fn page(path: &[u8], query: Option<&[u8]>) -> Option<Page> {
    if target::equals_decoded(path, b"/healthz") {
        Some(Page::Health)
    } else if target::equals_decoded(path, b"/readyz") {
        Some(Page::Ready { leader: target::has_parameter(query.unwrap_or_default(), b"leader") })
    } else if target::equals_decoded(path, b"/status") {
        Some(Page::Status)
    } else if target::equals_decoded(path, b"/metrics") {
        Some(Page::Metrics)
    } else {
        None
    }
}
