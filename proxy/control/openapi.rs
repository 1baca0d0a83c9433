//! `/openapi.json`, made from the table of routes and the schemas of the types that they take and give.

use std::sync::LazyLock;

use axum::Json;
use http::Method;
use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::Value;
use utoipa::openapi::path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, HttpMethod, InfoBuilder, LicenseBuilder, OpenApiBuilder, PathItem, PathsBuilder,
    RefOr, Required, ResponseBuilder,
};

use crate::api::Problem;
use crate::problem;
use crate::routes::{Answer, Content, Route, Taken, table};

/// What any request may get, besides what its route says.
const ANY: [u16; 7] = [400, 401, 403, 405, 421, 429, 503];

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| build(&table()));

pub(crate) async fn document() -> Json<&'static Value> {
    Json(&DOCUMENT)
}

fn build(table: &[Route]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|s| s.definitions_path = "/components/schemas".into());
    let mut schemas = settings.into_generator();
    let mut paths = PathsBuilder::new();
    for route in table {
        paths = paths.path(route.path, PathItem::new(method(&route.method), operation(route, &mut schemas)));
    }
    let info = InfoBuilder::new()
        .title("squall")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("The control port of squall, a fault-injection proxy for fail-safe experiments."))
        .license(Some(LicenseBuilder::new().name(env!("CARGO_PKG_LICENSE")).build()));
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    let nothing_or_bearer = [SecurityRequirement::default(), SecurityRequirement::new("token", [] as [&str; 0])];
    let components = ComponentsBuilder::new().security_scheme("token", bearer);
    let document = OpenApiBuilder::new()
        .info(info.build())
        .paths(paths.build())
        .security(Some(nothing_or_bearer))
        .components(Some(components.build()))
        .build();
    let mut document = serde_json::to_value(document).unwrap_or_default();
    document["components"]["schemas"] = schemas.take_definitions(true).into();
    document
}

fn operation(route: &Route, schemas: &mut SchemaGenerator) -> Operation {
    let mut operation = OperationBuilder::new().operation_id(Some(operation_id(route))).summary(Some(route.about));
    operation = operation.description(Some(format!("Least role: {}.", route.needs.role)));
    for name in route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
        operation = operation.parameter(path_parameter(name));
    }
    if let Some(taken) = &route.takes {
        operation = operation.request_body(Some(request_body(taken, schemas)));
    }
    if matches!(route.takes, Some(Taken::Scenario)) {
        operation = operation.parameter(set_parameter());
    }
    let mut statuses: Vec<u16> = route.gives.iter().map(|answer| answer.status).collect();
    statuses.dedup();
    for status in statuses {
        let mut response = ResponseBuilder::new().description(words(status));
        for Answer { content, .. } in route.gives.iter().filter(|answer| answer.status == status) {
            response = match content {
                Content::Json(of) => response.content("application/json", schema(of(schemas))),
                Content::Stream(of) => response.content("text/event-stream", schema(of(schemas))),
                Content::Text("") => response,
                Content::Text(kind) => response.content(*kind, ContentBuilder::new().schema(Some(text())).build()),
            };
        }
        operation = operation.response(status.to_string(), response.build());
    }
    let takes_body: &[u16] = if route.takes.is_some() { &[408, 413] } else { &[] };
    for status in ANY.iter().chain(route.fails).chain(takes_body) {
        let problem = schema(schemas.subschema_for::<Problem>());
        let response = ResponseBuilder::new().description(words(*status)).content(problem::CONTENT, problem);
        operation = operation.response(status.to_string(), response.build());
    }
    operation.build()
}

fn request_body(taken: &Taken, schemas: &mut SchemaGenerator) -> RequestBody {
    let body = RequestBodyBuilder::new();
    let body = match taken {
        Taken::Json { schema: of, required } => {
            let required = if *required { Required::True } else { Required::False };
            body.content("application/json", schema(of(schemas))).required(Some(required))
        }
        Taken::Scenario => body
            .description(Some("A scenario; `squall schema` prints its JSON Schema."))
            .content("application/toml", ContentBuilder::new().schema(Some(text())).build())
            .content("application/json", ContentBuilder::new().schema(Some(ObjectBuilder::new())).build())
            .required(Some(Required::True)),
    };
    body.build()
}

fn schema(schema: Schema) -> utoipa::openapi::Content {
    // References and lists of references: what utoipa reads of them is all of them. A free value is an object here.
    let schema: Option<RefOr<utoipa::openapi::Schema>> = serde_json::from_value(schema.to_value()).ok();
    ContentBuilder::new().schema(schema.or_else(|| Some(ObjectBuilder::new().into()))).build()
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn path_parameter(name: &str) -> Parameter {
    let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path).required(Required::True);
    parameter.schema(Some(text())).build()
}

fn set_parameter() -> Parameter {
    ParameterBuilder::new()
        .name("set")
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some("`name=value` of a parameter; any number of times"))
        .schema(Some(ArrayBuilder::new().items(text())))
        .build()
}

/// `get_v1_proxies_name`
fn operation_id(route: &Route) -> String {
    let words = route.path.split(['/', '{', '}', '.']).filter(|word| !word.is_empty());
    let method = route.method.as_str().to_ascii_lowercase();
    std::iter::once(&*method).chain(words).collect::<Vec<_>>().join("_")
}

fn method(method: &Method) -> HttpMethod {
    match *method {
        Method::PUT => HttpMethod::Put,
        Method::PATCH => HttpMethod::Patch,
        Method::POST => HttpMethod::Post,
        Method::DELETE => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}

fn words(status: u16) -> &'static str {
    http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("")
}
