//! The OpenAPI document as a page that can be read: no scripts, nothing from elsewhere.

use std::fmt::Write as _;

use serde_json::Value;
use utoipa::openapi::OpenApi;

/// Where the page is.
pub(crate) const PATH: &str = "/api/control/v1/reference";

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;\
background:#fff}code,pre{font-family:ui-monospace,monospace;font-size:.9em}h2{margin-top:3rem;border-bottom:1px solid #d0d7de}\
h3 code{font-weight:600}.m{display:inline-block;min-width:4.5em;text-transform:uppercase;color:#0550ae}\
table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.25rem .75rem .25rem 0;\
border-bottom:1px solid #eaeef2}@media(prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}.m{color:#79c0ff}\
h2,td,th{border-color:#30363d}a{color:#79c0ff}}";

/// The page.
pub(super) fn page(document: &OpenApi) -> String {
    let document = serde_json::to_value(document).unwrap_or_default();
    let mut page = String::with_capacity(64 << 10);
    let title = escaped(text(&document["info"]["title"]));
    page.push_str("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width\">");
    let _ =
        write!(page, "<title>{title}: reference</title><style>{STYLE}</style></head><body><h1>{title}</h1>");
    for paragraph in text(&document["info"]["description"]).split("\n\n") {
        let _ = write!(page, "<p>{}</p>", marked(paragraph));
    }
    page.push_str("<p>For programs: <a href=\"openapi.json\">openapi.json</a></p>");
    let mut tag = "";
    for (path, method, operation) in operations(&document) {
        let own = text(&operation["tags"][0]);
        if own != tag {
            let _ = write!(page, "<h2>{}</h2>", escaped(own));
            tag = own;
        }
        one_operation(&mut page, path, method, operation);
    }
    page.push_str("<h2>Types</h2>");
    for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
        one_type(&mut page, name, schema);
    }
    page.push_str("</body></html>\n");
    page
}

/// All operations, those of a tag together.
fn operations(document: &Value) -> Vec<(&str, &'static str, &Value)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for method in METHODS {
            if let Some(operation) = item.get(method) {
                found.push((path.as_str(), method, operation));
            }
        }
    }
    found.sort_by_key(|(path, _, operation)| (text(&operation["tags"][0]), *path));
    found
}

fn one_operation(page: &mut String, path: &str, method: &str, operation: &Value) {
    let (path, summary) = (escaped(path), escaped(text(&operation["summary"])));
    let _ =
        write!(page, "<h3><code><span class=\"m\">{method}</span> {path}</code></h3><p><b>{summary}.</b> ");
    page.push_str(&marked(text(&operation["description"])));
    if operation.get("security").is_none() {
        page.push_str(" Needs no credentials.");
    }
    page.push_str("</p><table>");
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let name = escaped(text(&parameter["name"]));
        let description = marked(text(&parameter["description"]));
        let _ = write!(
            page,
            "<tr><td><code>{name}</code></td><td>{}</td><td>{description}</td></tr>",
            text(&parameter["in"])
        );
    }
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    if !body.is_null() {
        let _ = write!(page, "<tr><td>body</td><td colspan=\"2\">{}</td></tr>", type_of(body));
    }
    for (status, response) in operation["responses"].as_object().into_iter().flatten() {
        if status.starts_with('2') {
            let schema = &response["content"]["application/json"]["schema"];
            let answer =
                if schema.is_null() { marked(text(&response["description"])) } else { type_of(schema) };
            let _ = write!(page, "<tr><td>{status}</td><td colspan=\"2\">{answer}</td></tr>");
        }
    }
    page.push_str("</table>");
}

fn one_type(page: &mut String, name: &str, schema: &Value) {
    let name = escaped(name);
    let _ = write!(
        page,
        "<h3 id=\"{name}\"><code>{name}</code></h3><p>{}</p>",
        marked(text(&schema["description"]))
    );
    if let Some(properties) = schema["properties"].as_object() {
        let required =
            |name: &str| schema["required"].as_array().into_iter().flatten().any(|required| required == name);
        page.push_str("<table>");
        for (property, schema) in properties {
            let mark = if required(property) { "" } else { " (optional)" };
            let (kind, description) = (type_of(schema), marked(text(&schema["description"])));
            let property = escaped(property);
            let _ = write!(
                page,
                "<tr><td><code>{property}</code>{mark}</td><td>{kind}</td><td>{description}</td></tr>"
            );
        }
        page.push_str("</table>");
    } else {
        let _ = write!(page, "<p>{}</p>", type_of(schema));
    }
}

/// A schema in a few words, with a link where it has a name.
fn type_of(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = escaped(reference.rsplit('/').next().unwrap_or_default());
        return format!("<a href=\"#{name}\"><code>{name}</code></a>");
    }
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> =
            values.iter().map(|value| format!("<code>{}</code>", escaped(text(value)))).collect();
        return format!("one of {}", values.join(", "));
    }
    for one_of in ["oneOf", "anyOf", "allOf"] {
        if let Some(schemas) = schema[one_of].as_array() {
            let kinds: Vec<String> = schemas.iter().map(type_of).collect();
            return kinds.join(" or ");
        }
    }
    match &schema["type"] {
        Value::String(kind) if kind == "array" => format!("list of {}", type_of(&schema["items"])),
        Value::String(kind) => escaped(kind),
        Value::Array(kinds) => kinds.iter().map(text).collect::<Vec<_>>().join(" or "),
        _ => "any".to_owned(),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Escaped text, with what stands in backquotes as code.
fn marked(text: &str) -> String {
    let mut marked = String::with_capacity(text.len());
    for (at, part) in text.split('`').enumerate() {
        let part = escaped(part);
        if at % 2 == 1 {
            let _ = write!(marked, "<code>{part}</code>");
        } else {
            marked.push_str(&part);
        }
    }
    marked
}
