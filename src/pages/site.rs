//! Default links of error pages, determined by the kind of error and the request's host.

use super::{Action, ResponseContext};
use std::borrow::Cow;

/// The pages of the request's host that an error page can link to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Site {
    /// The host serves no page, or is unknown.
    #[default]
    Unknown,
    /// An app host, with the path of its start page.
    App(Cow<'static, str>),
    /// The sign-in host, with the path of its start page.
    SignInPages(Cow<'static, str>),
}

/// The default link of an error page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DefaultLink {
    /// The host's start page.
    StartPage,
    /// The same URL after a GET or HEAD; otherwise the start page.
    SameAddress,
    /// The sign-in page, which redirects to the start page afterwards.
    SignIn,
    /// The sign-out page, which offers another sign-in.
    OtherAccount,
    /// No link, because each page of the host would fail in the same way.
    None,
}

impl Site {
    /// Returns the path of the start page, or `/` if it is unknown.
    pub fn start_page(&self) -> &str {
        match self {
            Self::Unknown => "/",
            Self::App(start) | Self::SignInPages(start) => start,
        }
    }
}

impl DefaultLink {
    /// Returns the link for `visitor`. Returns `None` if the host serves no page or every page
    /// would fail in the same way.
    pub fn action(self, visitor: &ResponseContext) -> Option<Action> {
        let site = &visitor.site;
        let start = site.start_page();
        let (label, href) = match (self, site) {
            // RFC 3986, section 4.4: an empty reference is the URL of the page itself. The page
            // thus contains no text of the request.
            (Self::SameAddress, _) if visitor.is_get => ("Try again", String::new()),
            (Self::None, _) | (_, Site::Unknown) => return None,
            (Self::SignIn, Site::App(_)) => ("Sign in", format!("/.narthex/sign-in?return_to={start}")),
            (Self::SignIn, Site::SignInPages(_)) => ("Sign in", start.to_owned()),
            (Self::OtherAccount, Site::App(_)) => ("Use another account", "/.narthex/sign-out".to_owned()),
            (Self::OtherAccount, Site::SignInPages(_)) => ("Use another account", format!("{start}logout")),
            (Self::StartPage | Self::SameAddress, _) => ("Go to the start page", start.to_owned()),
        };
        Some(Action { label, href })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ClientKind, ErrorResponse};
    use super::*;

    fn page(failure: &ErrorResponse, site: Site, is_get: bool, reader: ClientKind) -> String {
        let visitor = ResponseContext {
            request_id: "0".repeat(32),
            client: reader,
            strict_transport: false,
            site,
            is_get,
            texts: super::super::Texts::of(&[]),
        };
        String::from_utf8(failure.into_response(&visitor).body().to_vec()).unwrap()
    }

    #[test]
    fn a_page_links_to_what_its_host_serves() {
        let (app, pool) = (Site::App("/wiki/".into()), Site::SignInPages("/auth/".into()));
        for (failure, site, is_get, href) in [
            (ErrorResponse::not_found(), app.clone(), true, Some("/wiki/")),
            (ErrorResponse::not_found(), pool.clone(), true, Some("/auth/")),
            (ErrorResponse::not_found(), Site::Unknown, true, None),
            (ErrorResponse::bad_request(), Site::Unknown, true, None),
            (ErrorResponse::headers_too_large(), app.clone(), true, None),
            (ErrorResponse::target_too_long(), app.clone(), true, Some("/wiki/")),
            (ErrorResponse::upstream_down(), app.clone(), true, Some("")),
            (ErrorResponse::upstream_down(), app.clone(), false, Some("/wiki/")),
            (ErrorResponse::internal(), Site::Unknown, false, None),
            (
                ErrorResponse::sign_in_required(),
                app.clone(),
                true,
                Some("/.narthex/sign-in?return_to=/wiki/"),
            ),
            (ErrorResponse::sign_in_required(), pool.clone(), true, Some("/auth/")),
            (ErrorResponse::access_denied(), app.clone(), false, Some("/.narthex/sign-out")),
            (ErrorResponse::forbidden(), pool, true, Some("/auth/logout")),
            (ErrorResponse::bad_request().with_action("On", "/on"), app.clone(), true, Some("/on")),
        ] {
            let page = page(&failure, site, is_get, ClientKind::Browser);
            let link = page.split("class=\"button primary\" href=\"").nth(1);
            assert_eq!(link.map(|link| link.split('"').next().unwrap()), href, "{page}");
        }
    }

    #[test]
    fn a_program_gets_no_link() {
        let response = page(&ErrorResponse::not_found(), Site::App("/".into()), true, ClientKind::Program);
        let mut names: Vec<String> = serde_json::from_str::<serde_json::Map<_, _>>(&response)
            .unwrap()
            .into_iter()
            .map(|m| m.0)
            .collect();
        names.sort();
        assert_eq!(names, ["error", "message", "request_id"]);
    }
}
