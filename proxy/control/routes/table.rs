//! One line of the table: method, path, handler, and what it takes and gives.

use axum::handler::Handler;
use axum::routing::{MethodRouter, delete, get, patch, post, put};
use http::Method;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use squall_core::who::Role;

use super::Port;
use crate::access::{About, Needs};
use crate::api::{Empty, ExperimentView};

type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// A route.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) about: &'static str,
    pub(crate) handler: MethodRouter<Port>,
    pub(crate) takes: Option<Taken>,
    pub(crate) gives: Vec<Answer>,
    /// Statuses of errors besides those that any request may get.
    pub(crate) fails: &'static [u16],
    /// It shows nothing but figures, and changes nothing.
    pub(crate) harmless: bool,
    /// Who may use it.
    pub(crate) needs: Needs,
}

/// What a request carries.
pub(crate) enum Taken {
    /// JSON.
    Json { schema: SchemaOf, required: bool },
    /// A scenario, in TOML or JSON, with `set` in the query.
    Scenario,
}

/// A successful answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content: Content,
}

/// What an answer carries.
pub(crate) enum Content {
    /// JSON.
    Json(SchemaOf),
    /// Server-sent events.
    Stream(SchemaOf),
    /// Text of this content type; empty: none.
    Text(&'static str),
}

impl Route {
    pub(crate) fn get<T: 'static>(path: &'static str, handler: impl Handler<T, Port>, about: &'static str) -> Route {
        Route::new(Method::GET, path, get(handler), about)
    }

    pub(crate) fn post<T: 'static>(path: &'static str, handler: impl Handler<T, Port>, about: &'static str) -> Route {
        Route::new(Method::POST, path, post(handler), about)
    }

    pub(crate) fn put<T: 'static>(path: &'static str, handler: impl Handler<T, Port>, about: &'static str) -> Route {
        Route::new(Method::PUT, path, put(handler), about)
    }

    pub(crate) fn patch<T: 'static>(path: &'static str, handler: impl Handler<T, Port>, about: &'static str) -> Route {
        Route::new(Method::PATCH, path, patch(handler), about)
    }

    pub(crate) fn delete<T: 'static>(path: &'static str, handler: impl Handler<T, Port>, about: &'static str) -> Route {
        Route::new(Method::DELETE, path, delete(handler), about)
    }

    fn new(method: Method, path: &'static str, handler: MethodRouter<Port>, about: &'static str) -> Route {
        let about_what = match path {
            _ if method == Method::GET => About::All,
            path if path.contains("{id}") => About::Experiment,
            _ => About::Program,
        };
        let role = if method == Method::GET { Role::Viewer } else { Role::Operator };
        let needs = Needs { role, about: about_what };
        Route { method, path, about, handler, takes: None, gives: Vec::new(), fails: &[], harmless: false, needs }
    }

    /// The least role, where it is not that of others: viewers look, operators do.
    pub(crate) fn least(self, role: Role) -> Route {
        Route { needs: Needs { role, ..self.needs }, ..self }
    }

    pub(crate) fn about(self, about: About) -> Route {
        Route { needs: Needs { about, ..self.needs }, ..self }
    }

    pub(crate) fn takes<T: JsonSchema>(self) -> Route {
        Route { takes: Some(Taken::Json { schema: SchemaGenerator::subschema_for::<T>, required: true }), ..self }
    }

    /// An empty object in, the experiment out.
    pub(crate) fn controls(self) -> Route {
        self.takes::<Empty>().gives::<ExperimentView>(200).fails(&[404, 409, 415])
    }

    pub(crate) fn takes_optional<T: JsonSchema>(self) -> Route {
        Route { takes: Some(Taken::Json { schema: SchemaGenerator::subschema_for::<T>, required: false }), ..self }
    }

    pub(crate) fn takes_scenario(self) -> Route {
        Route { takes: Some(Taken::Scenario), ..self }
    }

    pub(crate) fn gives<T: JsonSchema>(self, status: u16) -> Route {
        self.answers(status, Content::Json(SchemaGenerator::subschema_for::<T>))
    }

    pub(crate) fn streams<T: JsonSchema>(self, status: u16) -> Route {
        self.answers(status, Content::Stream(SchemaGenerator::subschema_for::<T>))
    }

    pub(crate) fn says(self, status: u16, content_type: &'static str) -> Route {
        self.answers(status, Content::Text(content_type))
    }

    pub(crate) fn fails(self, fails: &'static [u16]) -> Route {
        Route { fails, ..self }
    }

    pub(crate) fn harmless(self) -> Route {
        Route { harmless: true, ..self }
    }

    fn answers(mut self, status: u16, content: Content) -> Route {
        self.gives.push(Answer { status, content });
        self
    }
}
