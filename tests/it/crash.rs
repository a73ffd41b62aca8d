//! A process that is killed during logins: what was answered is stored.

use crate::support::deployment::deployment;
use crate::support::upstream::Upstream;
use crate::support::visitor::{Visitor, redirect_target};
use reqwest::Method;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_of_logins_it_lost_no_session_that_was_answered() {
    let upstream = Upstream::start().await;
    let (mut narthex, _provider) = deployment(&upstream).await;
    let app = format!("{}/", narthex.origin("app"));
    let (landed, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
    let mut people = tokio::task::JoinSet::new();
    for person in 0..8 {
        let (app, landed, stop) = (app.clone(), landed.clone(), stop.clone());
        let make = {
            let authority = narthex.authority();
            move || Visitor::with_authority(authority.clone(), |builder| builder)
        };
        people.spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                let visitor = make();
                // Once it is killed, requests fail: that ends this person's part.
                if visitor
                    .try_sign_in(&app, &format!("person{person}"))
                    .await
                    .is_none_or(|answer| answer.status() != 200)
                {
                    return;
                }
                landed.lock().unwrap().push(visitor);
            }
        });
    }
    let begun = std::time::Instant::now();
    while landed.lock().unwrap().len() < 60 {
        assert!(begun.elapsed().as_secs() < 60, "sign-ins are too slow");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    narthex.kill();
    stop.store(true, Ordering::SeqCst);
    while people.join_next().await.is_some() {}
    narthex.start();

    let landed = std::mem::take(&mut *landed.lock().unwrap());
    assert!(landed.len() >= 60);
    for visitor in &landed {
        let answer = visitor.request_json(Method::GET, &app).await;
        assert_eq!(answer.status(), 200, "a session that was answered is gone");
    }
    // The others, cut off wherever they were, begin again and get there.
    let again = Visitor::new(&narthex).sign_in(&app, "somebody").await;
    assert_eq!((again.status().as_u16(), redirect_target(&again)), (200, None));
}
