//! Ports of this machine answer programs, never pages: a page in a browser can post anywhere, and nothing here asks who posts.

use axum::{
    extract::Request,
    http::{StatusCode, header},
    middleware::Next,
    response::Response,
};

use super::reply;

/// Refuses what a browser sends for a page: it names the page's origin with every POST, also from a page that
/// a name of its own has led here (DNS rebinding). Neither the Functions host nor any sender of alerts does.
pub async fn refuse_pages(request: Request, next: Next) -> Response {
    if request.headers().contains_key(header::ORIGIN) {
        return reply::refusal(StatusCode::FORBIDDEN, "this port answers programs only; a page of a browser may not use it");
    }
    next.run(request).await
}
