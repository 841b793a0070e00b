//! Every way to refuse a request: status, explanation, `Allow`.

use super::status::Status;

/// Why a request is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// The request breaks a rule of HTTP, so nothing after it can be trusted. The text names the rule.
    Malformed(&'static str),
    /// `n` is not a number from 1 to the maximum, or is given more than once.
    CountOutOfRange,
    /// Nothing is served at this path.
    NotFound,
    /// This port of the node serves only pages.
    IdsElsewhere,
    /// This port of the node serves no pages.
    PagesElsewhere,
    /// The method does not fit the resource.
    MethodNotAllowed(Allow),
    /// A GET where POST is meant: most often a POST that a redirect has turned into a GET.
    GetInsteadOfPost(Allow),
    /// The client accepts neither of the available types.
    NotAcceptable,
    /// The request did not arrive in time.
    RequestTimeout,
    /// The body is longer than allowed.
    ContentTooLarge,
    /// The target is longer than allowed.
    UriTooLong,
    /// The target belongs to another scheme.
    Misdirected,
    /// An expectation other than `100-continue`.
    ExpectationFailed,
    /// Too many header or trailer fields, or too large.
    FieldsTooLarge,
    /// A method that this server does not know.
    MethodUnknown,
    /// A transfer coding that this server does not know.
    TransferCodingUnknown,
    /// A major version other than 1.
    VersionUnsupported,
    /// Too many requests are waiting.
    Overloaded,
    /// Too many connections are open.
    TooManyConnections,
    /// The cluster gave no answer in time.
    TimedOut,
    /// This node is being stopped.
    Stopping,
    /// There are not enough IDs left.
    Exhausted,
}

/// The methods of a resource, for the `Allow` field (RFC 9110 §10.2.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Allow {
    /// A resource that hands out IDs.
    Ids,
    /// A resource that is a page.
    Page,
    /// Everything that the server supports: the answer to `OPTIONS *`.
    Server,
    /// Nothing: the server is not a proxy.
    Nothing,
}

impl Allow {
    /// The field's value.
    pub(super) const fn methods(self) -> &'static str {
        match self {
            Allow::Ids => "POST, OPTIONS",
            Allow::Page => "GET, HEAD, OPTIONS",
            Allow::Server => "GET, HEAD, POST, OPTIONS",
            Allow::Nothing => "",
        }
    }
}

impl Refusal {
    /// The status code (RFC 9110 §15, RFC 6585 for 431).
    pub(super) const fn status(self) -> Status {
        match self {
            Refusal::Malformed(_) | Refusal::CountOutOfRange => Status::BadRequest,
            Refusal::NotFound | Refusal::IdsElsewhere | Refusal::PagesElsewhere => Status::NotFound,
            Refusal::MethodNotAllowed(_) | Refusal::GetInsteadOfPost(_) => Status::MethodNotAllowed,
            Refusal::NotAcceptable => Status::NotAcceptable,
            Refusal::RequestTimeout => Status::RequestTimeout,
            Refusal::ContentTooLarge => Status::ContentTooLarge,
            Refusal::UriTooLong => Status::UriTooLong,
            Refusal::ExpectationFailed => Status::ExpectationFailed,
            Refusal::Misdirected => Status::MisdirectedRequest,
            Refusal::FieldsTooLarge => Status::FieldsTooLarge,
            Refusal::Exhausted => Status::InternalServerError,
            Refusal::MethodUnknown | Refusal::TransferCodingUnknown => Status::NotImplemented,
            Refusal::Overloaded | Refusal::TooManyConnections | Refusal::TimedOut | Refusal::Stopping => {
                Status::ServiceUnavailable
            }
            Refusal::VersionUnsupported => Status::VersionNotSupported,
        }
    }

    /// An explanation for a person, on one line that needs no escaping in JSON. `None` if it depends on the
    /// configuration.
    pub(super) const fn detail(self) -> Option<&'static str> {
        Some(match self {
            Refusal::Malformed(rule) => rule,
            Refusal::CountOutOfRange => return None,
            Refusal::NotFound => "Nothing is served at this path; IDs are handed out at POST /",
            Refusal::IdsElsewhere => "IDs are handed out at another port of this node: --http_port",
            Refusal::PagesElsewhere => {
                "Health, status and metrics are at another port of this node: --metrics_port"
            }
            Refusal::MethodNotAllowed(_) => {
                "This method does not fit this resource; the Allow field lists those that do"
            }
            Refusal::GetInsteadOfPost(_) => {
                "IDs are handed out to POST only. If you sent POST, a redirect turned it into GET: let your \
                 client keep the method (curl -L -X POST), or start the nodes with --redirect_status 307"
            }
            Refusal::NotAcceptable => {
                "IDs come as text/plain or application/json, and the Accept field allows neither"
            }
            Refusal::RequestTimeout => "The request did not arrive in time",
            Refusal::ContentTooLarge => "The body is too long; none is needed",
            Refusal::UriTooLong => "The request target is too long",
            Refusal::ExpectationFailed => "The only expectation that can be met is 100-continue",
            Refusal::Misdirected => "This server answers for http URIs only",
            Refusal::FieldsTooLarge => "There are too many header fields, or they are too large",
            Refusal::MethodUnknown => "This method is not known here",
            Refusal::TransferCodingUnknown => "The only transfer coding known here is chunked",
            Refusal::VersionUnsupported => "The only versions of HTTP spoken here are 1.1 and 1.0",
            Refusal::Overloaded => "Too many requests are waiting already; try again",
            Refusal::TooManyConnections => "Too many connections are open already; try again",
            Refusal::TimedOut => "The cluster gave no answer in time; try again",
            Refusal::Stopping => "This node is being stopped; try again",
            Refusal::Exhausted => "There are not enough IDs left below 2^64-1",
        })
    }

    /// The methods that the resource allows, if the status code requires them.
    pub(super) const fn allow(self) -> Option<Allow> {
        match self {
            Refusal::MethodNotAllowed(allow) | Refusal::GetInsteadOfPost(allow) => Some(allow),
            Refusal::Malformed(_)
            | Refusal::CountOutOfRange
            | Refusal::NotFound
            | Refusal::IdsElsewhere
            | Refusal::PagesElsewhere
            | Refusal::NotAcceptable
            | Refusal::RequestTimeout
            | Refusal::ContentTooLarge
            | Refusal::UriTooLong
            | Refusal::Misdirected
            | Refusal::ExpectationFailed
            | Refusal::FieldsTooLarge
            | Refusal::MethodUnknown
            | Refusal::TransferCodingUnknown
            | Refusal::VersionUnsupported
            | Refusal::Overloaded
            | Refusal::TooManyConnections
            | Refusal::TimedOut
            | Refusal::Stopping
            | Refusal::Exhausted => None,
        }
    }

    /// Whether the client should try again soon.
    pub(super) const fn is_temporary(self) -> bool {
        matches!(
            self,
            Refusal::Overloaded | Refusal::TooManyConnections | Refusal::TimedOut | Refusal::Stopping
        )
    }
}
