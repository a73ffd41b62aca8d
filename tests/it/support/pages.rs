//! The pages that visitors get, and the addresses in them.

use super::visitor::{Visitor, redirect_target};
use url::Url;

/// Follows redirects from `url`, and returns the address at the provider that they lead to.
pub async fn follow_to_provider(visitor: &Visitor, url: &str) -> Url {
    let mut url = url.to_owned();
    while !url.starts_with("http://127.0.0.1") {
        url = redirect_target(&visitor.get(&url).await).expect("a way to the provider");
    }
    url.parse().unwrap()
}

/// Returns the value of a query parameter of `url`.
pub fn query_parameter(url: &Url, name: &str) -> String {
    url.query_pairs().find(|(known, _)| known == name).unwrap().1.into_owned()
}

/// Returns the addresses of the links and forms of a page.
pub fn page_links(page: &str) -> Vec<String> {
    let attribute =
        |name: &str| page.split(&format!("{name}=\"")).skip(1).map(str::to_owned).collect::<Vec<_>>();
    let all = [attribute("href"), attribute("action")].concat();
    let value = |rest: String| rest.split('"').next().unwrap().replace("&#38;", "&");
    all.into_iter().map(value).filter(|href| !href.ends_with(".css") && !href.ends_with(".svg")).collect()
}
