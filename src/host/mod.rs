//! The custom-handler server: what the Functions host posts comes in as a [`delivery::Delivery`], an outcome goes back.
//!
//! Source of the contract: Azure Functions host, `DefaultHttpWorkerService.cs` and `ScriptInvocationContextExtensions.cs`.

pub mod browser;
pub mod delivery;
pub mod dispatch;
pub mod envelope;
pub mod http;
pub mod reply;
pub mod server;
pub mod starting;
pub mod webhook;
