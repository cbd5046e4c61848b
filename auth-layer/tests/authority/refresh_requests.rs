//! What a client sends with its refresh token, and what the application changes (RFC 6749 §6).

use auth_layer::{
    Scope,
    authority::{RefreshRequest, Renewal},
};

use super::*;

fn scope(text: &str) -> Scope {
    text.parse().unwrap()
}

#[tokio::test]
async fn refresh_by_another_client_is_refused_and_uses_nothing_up() {
    let clock = clock();
    let authority = builder(&clock).build().unwrap();
    let pair = sign_in(&authority, UserId::generate()).await;
    let next = authority.refresh(RefreshRequest::new(&pair.refresh_token).client("web")).await.unwrap();
    clock.advance(MINUTE);
    // Neither a good token nor a retired one is touched.
    for token in [&next.refresh_token, &pair.refresh_token] {
        let refused = authority.refresh(RefreshRequest::new(token).client("other")).await;
        assert!(matches!(refused, Err(RefreshError::InvalidGrant(GrantFault::Client))), "{refused:?}");
    }
    assert!(authority.verify(&next.access_token).await.is_ok());
    authority.refresh(RefreshRequest::new(&next.refresh_token).client("web")).await.unwrap();
}

#[tokio::test]
async fn refresh_for_less_scope_narrows_the_access_token_alone() {
    let clock = clock();
    let authority = builder(&clock).build().unwrap();
    let pair = sign_in(&authority, UserId::generate()).await;
    let less = scope("mail");
    let narrow = authority.refresh(RefreshRequest::new(&pair.refresh_token).scope(&less)).await.unwrap();
    assert_eq!(narrow.scope, less);
    assert_eq!(authority.verify(&narrow.access_token).await.unwrap().scope, less);
    let refresh = authority.introspect(&narrow.refresh_token).await.unwrap();
    assert_eq!(refresh.claims().unwrap().scope, scope("profile mail"));
    // The retry of a lost answer gets the same two texts, even if it asks for another scope.
    assert_eq!(authority.refresh(&pair.refresh_token).await.unwrap(), narrow);

    let more = scope("mail admin");
    let refused = authority.refresh(RefreshRequest::new(&narrow.refresh_token).scope(&more)).await;
    assert!(matches!(refused, Err(RefreshError::Scope)), "{refused:?}");
    let whole = authority.refresh(&narrow.refresh_token).await.unwrap();
    assert_eq!(whole.scope, scope("profile mail"), "the session has not lost it");
}

#[tokio::test]
async fn refresh_takes_scope_away_for_good_and_never_adds_any() {
    let clock = clock();
    let authority = builder(&clock).build().unwrap();
    let pair = sign_in(&authority, UserId::generate()).await;
    let at_most =
        |text: &'static str| move |_| async move { Ok::<_, std::io::Error>(Renewal::new().at_most(scope(text))) };
    let same = authority.refresh_with(&pair.refresh_token, at_most("admin profile mail")).await.unwrap();
    assert_eq!(same.scope, scope("profile mail"));
    let all = scope("profile mail");
    let less = authority.refresh_with(RefreshRequest::new(&same.refresh_token).scope(&all), at_most("profile")).await;
    let less = less.unwrap();
    assert_eq!((&less.scope, less.scope.clone()), (&scope("profile"), scope("profile")));
    let gone = authority.refresh(RefreshRequest::new(&less.refresh_token).scope(&scope("mail"))).await;
    assert!(matches!(gone, Err(RefreshError::Scope)), "{gone:?}");
    let next = authority.refresh_with(&less.refresh_token, at_most("profile mail")).await.unwrap();
    assert_eq!(next.scope, scope("profile"));
}

#[tokio::test]
async fn refresh_for_some_audiences_narrows_the_access_token_alone() {
    let clock = clock();
    let authority = builder(&clock).audience("billing").build().unwrap();
    let user = UserId::generate();
    let begun = authority.begin_sign_in(user).await.unwrap();
    let pair = authority.sign_in(begun, Grant::new("web").audience("api").audience("billing")).await.unwrap();
    let billing = ["billing".to_owned()];
    let narrow = authority.refresh(RefreshRequest::new(&pair.refresh_token).audiences(&billing)).await.unwrap();
    assert_eq!(authority.verify(&narrow.access_token).await.unwrap().aud, billing);
    let whole = authority.refresh(&narrow.refresh_token).await.unwrap();
    assert_eq!(authority.verify(&whole.access_token).await.unwrap().aud, ["api", "billing"]);

    // A session for the default audience has that one.
    let plain = sign_in(&authority, user).await;
    let refused = authority.refresh(RefreshRequest::new(&plain.refresh_token).audiences(&billing)).await;
    assert!(matches!(refused, Err(RefreshError::Target)), "{refused:?}");
    let api = ["api".to_owned()];
    authority.refresh(RefreshRequest::new(&plain.refresh_token).audiences(&api)).await.unwrap();
}
