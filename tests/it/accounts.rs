//! Accounts of users, on both engines: sign-up, codes, passwords, addresses. A number in a comment
//! is that of a complaint about other directories.

use crate::support::accounts::{AccountScene, OTHER, PASSWORD, refusal};
use crate::support::engine::Engine;
use crate::support::narthex::NarthexBuilder;
use crate::support::process::wait_until;
use narthex::base::{Clock as _, Duration, Secret, SystemEntropy};
use narthex::directory::sign_in::{Answer, Flow};
use narthex::directory::{AdminNewUser, Current, DirectoryError, Invitation, Sender, SignUp, Takeover};
use narthex::model::{
    AppClientSettings, Attributes, PasswordPolicy, PoolSettings, SignInAttribute, SignInSettings, User,
    UserStatus,
};
use narthex::store::CheckedWork;
use std::process::Command;

on_both_engines! {
    pain_17_a_sign_up_is_confirmed_by_its_code_alone
    pain_2_an_unconfirmed_user_learns_nothing_about_the_password
    a_confirmation_takes_no_alias_unless_it_is_forced
    a_forgotten_password_is_replaced_with_a_code
    pain_20_names_without_a_user_get_the_answers_of_users
    pain_1_a_new_address_waits_for_its_code
    an_address_that_is_the_user_name_waits_in_every_pool
    an_administrator_states_that_an_address_is_verified
    a_client_writes_its_attributes_alone
    a_changed_password_is_checked_like_a_sign_in
    administrators_create_invite_and_reset
    messages_have_limits
    a_code_is_void_once_its_address_is_not_the_users
    the_code_of_a_sign_up_goes_to_the_typed_address
    a_second_address_is_no_name_before_it_is_verified
    an_immutable_address_is_verified
    an_address_gets_few_messages_from_many_accounts
    a_message_does_not_outlive_its_user
    many_right_passwords_at_the_same_time_sign_in
    one_network_does_not_take_the_places_of_others
    wrong_codes_of_a_sign_up_do_not_reveal_it
    an_invisible_character_takes_no_address
}

fn email_alias() -> PoolSettings {
    PoolSettings {
        sign_in: SignInSettings { alias_attributes: vec![SignInAttribute::Email], ..Default::default() },
        auto_verified: vec![SignInAttribute::Email],
        verify_before_update: vec![SignInAttribute::Email, SignInAttribute::PhoneNumber],
        ..Default::default()
    }
}

fn email_username() -> PoolSettings {
    PoolSettings {
        sign_in: SignInSettings { username_attributes: vec![SignInAttribute::Email], ..Default::default() },
        auto_verified: vec![SignInAttribute::Email],
        ..Default::default()
    }
}

async fn current(scene: &AccountScene, user: &User) -> User {
    scene.store.user(&user.id).await.unwrap().unwrap()
}

async fn confirm(scene: &AccountScene, name: &str, code: &Secret) -> Result<User, (String, String)> {
    let confirmed = scene.accounts.confirm_sign_up(scene.sender(), name, code, Takeover::Refuse).await;
    confirmed
        .map(|(user, _)| user)
        .map_err(|error| (error.exception().to_owned(), error.message().to_owned()))
}

async fn pain_17_a_sign_up_is_confirmed_by_its_code_alone(engine: Engine) {
    let scene = AccountScene::new(engine, email_alias()).await;
    let ada = scene.sign_up("ada", &[("email", "ada@example.com")]).await.unwrap();
    assert_eq!((ada.status, ada.email_verified()), (UserStatus::Unconfirmed, false));
    let (to, code) = scene.take_code().await;
    assert_eq!(to, "ada@example.com");
    // 17: a code is for one purpose and one user.
    scene.sign_up("bob", &[("email", "bob@example.com")]).await.unwrap();
    let (_, bobs) = scene.take_code().await;
    for (name, wrong) in [("ada", &bobs), ("bob", &code)] {
        assert_eq!(confirm(&scene, name, wrong).await.unwrap_err().0, "CodeMismatchException");
    }
    let new = Secret::new(OTHER);
    let reset = scene.accounts.confirm_forgot_password(scene.sender(), "ada", &code, &new).await;
    assert_eq!(refusal(reset).0, "CodeMismatchException");
    let ada = confirm(&scene, "ada", &code).await.unwrap();
    assert_eq!((ada.status, ada.email_verified()), (UserStatus::Confirmed, true));
    let again = confirm(&scene, "ada", &code).await.unwrap_err();
    assert_eq!(again.0, "CodeMismatchException", "as for a name without a user");
    assert!(scene.sign_in_with_password("ada@example.com", PASSWORD).await.is_some(), "the alias signs in");
    // A resent code voids the first one, and five wrong ones void the code.
    scene.accounts.resend_sign_up_code(scene.sender(), "bob").await.unwrap();
    let (_, second) = scene.take_code().await;
    if second != bobs {
        assert_eq!(confirm(&scene, "bob", &bobs).await.unwrap_err().0, "CodeMismatchException");
    }
    let mut refused = Vec::new();
    for _ in 0..5 {
        refused.push(confirm(&scene, "bob", &Secret::new("x")).await.unwrap_err().0);
    }
    assert_eq!(confirm(&scene, "bob", &second).await.unwrap_err().0, "LimitExceededException");
    scene.clock.advance(Duration::from_mins(16));
    confirm(&scene, "bob", &Secret::new("x")).await.unwrap_err();
    // As for a name without a user.
    assert_eq!(confirm(&scene, "bob", &second).await.unwrap_err().0, "CodeMismatchException", "{refused:?}");
    scene.clock.advance(Duration::from_mins(16));
    scene.accounts.resend_sign_up_code(scene.sender(), "bob").await.unwrap();
    let (_, third) = scene.take_code().await;
    scene.clock.advance(Duration::from_hours(24));
    assert_eq!(confirm(&scene, "bob", &third).await.unwrap_err().0, "ExpiredCodeException");
    // A client that does not hide users gets AWS's words.
    let plain = AppClientSettings { hide_unknown_users: false, ..scene.client.settings.clone() };
    let client = narthex::model::AppClient { settings: plain, ..scene.client.clone() };
    let sender = narthex::directory::Sender { client: &client, ..scene.sender() };
    let resent = scene.accounts.resend_sign_up_code(sender, "ada").await;
    assert_eq!(refusal(resent).1, "User is already confirmed.");
    let again = scene.accounts.confirm_sign_up(sender, "ada", &third, Takeover::Refuse).await;
    assert_eq!(refusal(again).1, "User cannot be confirmed. Current status is CONFIRMED");
    scene.take_messages().await;
    scene.accounts.resend_sign_up_code(scene.sender(), "ada").await.unwrap();
    assert!(scene.take_messages().await.is_empty(), "nothing is sent");
    // The whole sign-up is refused with its password.
    let (weak, none) = (Secret::new("short"), Attributes::default());
    let sign_up = SignUp { username: "carl", password: Some(&weak), attributes: &none };
    let refused = refusal(scene.accounts.sign_up(scene.sender(), sign_up).await);
    assert_eq!(refused.0, "InvalidPasswordException");
    assert!(scene.store.user_by_username(&scene.pool.id, "carl").await.unwrap().is_none());
    let closed = PoolSettings { only_administrators_create: true, ..scene.pool.settings.clone() };
    let mut scene = scene;
    scene.pool.settings = closed;
    assert_eq!(refusal(scene.sign_up("dora", &[]).await).1, "SignUp is not permitted for this user pool");
}

async fn pain_2_an_unconfirmed_user_learns_nothing_about_the_password(engine: Engine) {
    use narthex::directory::sign_in::{Answer, Flow, Refusal, Reply};
    let scene = AccountScene::new(engine, email_alias()).await;
    scene.sign_up("ada", &[("email", "ada@example.com")]).await.unwrap();
    let (_, code) = scene.take_code().await;
    // 2: the wrong and the right password get one answer, in the API and on the page.
    for password in [PASSWORD, OTHER] {
        let answer = Answer::Password(Secret::new(password));
        let begin = async |flow| scene.sign_in.begin(scene.sender(), flow, "ada", &answer).await.unwrap();
        let reply = begin(Flow::UserPassword).await;
        assert!(matches!(reply, Reply::Refused(Refusal::UserNotConfirmed)), "{reply:?}");
        let Reply::Challenge(page) = begin(Flow::Page).await else { panic!("{password}") };
        if password == PASSWORD {
            let answer = Answer::Code(code.clone());
            let reply = scene.sign_in.respond_on_page(scene.sender(), &page.session, &answer).await.unwrap();
            assert!(matches!(reply, Reply::SignedIn { .. }), "the code leads straight in: {reply:?}");
            break;
        }
    }
}

async fn a_confirmation_takes_no_alias_unless_it_is_forced(engine: Engine) {
    let scene = AccountScene::new(engine, email_alias()).await;
    let first = scene.create_user("first", "shared@example.com").await;
    scene.sign_up("second", &[("email", "shared@example.com")]).await.unwrap();
    let (_, code) = scene.take_code().await;
    let refused = confirm(&scene, "second", &code).await.unwrap_err();
    assert_eq!(refused.0, "AliasExistsException");
    assert!(current(&scene, &first).await.email_verified());
    // The refusal left the code valid.
    let takeover = Takeover::LastVerifier;
    let confirmed = scene.accounts.confirm_sign_up(scene.sender(), "second", &code, takeover).await;
    let (second, _) = confirmed.unwrap();
    assert!(second.email_verified() && !current(&scene, &first).await.email_verified());
}

async fn a_forgotten_password_is_replaced_with_a_code(engine: Engine) {
    let policy = PasswordPolicy { history_size: 2, ..Default::default() };
    let scene = AccountScene::new(engine, PoolSettings { password_policy: policy, ..email_alias() }).await;
    let ada = scene.create_user("ada", "ada@example.com").await;
    let tokens = scene.sign_in_with_password("ada", PASSWORD).await.unwrap();
    for _ in 0..9 {
        assert!(scene.sign_in_with_password("ada", OTHER).await.is_none());
    }
    let delivery = scene.accounts.forgot_password(scene.sender(), "ada@example.com").await.unwrap();
    assert_eq!(delivery.destination, "a***@e***");
    let (to, code) = scene.take_code().await;
    assert_eq!(to, "ada@example.com");
    let set = async |code: &Secret, password: &str| {
        let password = &Secret::new(password);
        scene.accounts.confirm_forgot_password(scene.sender(), "ada", code, password).await
    };
    assert_eq!(refusal(set(&Secret::new("000000x"), OTHER).await).0, "CodeMismatchException");
    // What the policy refuses leaves the code valid.
    assert_eq!(refusal(set(&code, "short").await).0, "InvalidPasswordException");
    assert_eq!(refusal(set(&code, PASSWORD).await).0, "PasswordHistoryPolicyViolationException");
    set(&code, OTHER).await.unwrap();
    assert_eq!(refusal(set(&code, "Third-Horse-9-Staple").await).0, "CodeMismatchException", "it is used up");
    assert!(!scene.is_valid(&tokens).await, "all tokens end");
    assert!(scene.sign_in_with_password("ada", PASSWORD).await.is_none());
    assert!(
        scene.sign_in_with_password("ada", OTHER).await.is_some(),
        "the lock of wrong passwords ended as well"
    );
    // A code for a password verifies no address, and the other way round.
    scene.accounts.forgot_password(scene.sender(), "ada").await.unwrap();
    let (_, code) = scene.take_code().await;
    let (email, sender) = (SignInAttribute::Email, scene.sender());
    let verified = scene.accounts.verify_own_attribute(sender, &ada, email, &code).await;
    assert_eq!(refusal(verified).0, "ExpiredCodeException");
    scene.clock.advance(Duration::from_hours(1));
    assert_eq!(refusal(set(&code, PASSWORD).await).0, "ExpiredCodeException");
}

async fn pain_20_names_without_a_user_get_the_answers_of_users(engine: Engine) {
    let scene = AccountScene::new(engine, email_alias()).await;
    scene.create_user("ada", "ada@example.com").await;
    scene.sign_up("unverified", &[]).await.unwrap();
    scene.take_messages().await;
    let wrong = &Secret::new("999999x");
    let new = &Secret::new(OTHER);
    let mut sent = Vec::new();
    for name in ["ada", "nobody", "unverified"] {
        let forgot = async || scene.accounts.forgot_password(scene.sender(), name).await;
        let confirm = async || scene.accounts.confirm_forgot_password(scene.sender(), name, wrong, new).await;
        assert_eq!(refusal(confirm().await).0, "CodeMismatchException", "{name}");
        let delivery = forgot().await.unwrap();
        sent.extend(scene.take_messages().await);
        let shape: String = delivery.destination.chars().filter(|c| !c.is_alphabetic()).collect();
        assert_eq!((shape.as_str(), delivery.attribute), ("***@***", SignInAttribute::Email), "{name}");
        for _ in 0..4 {
            assert_eq!(refusal(confirm().await).0, "CodeMismatchException", "{name}");
        }
        assert_eq!(refusal(confirm().await).0, "LimitExceededException", "{name}");
        scene.clock.advance(Duration::from_mins(16));
        assert_eq!(refusal(confirm().await).0, "CodeMismatchException", "{name}");
        assert_eq!(refusal(confirm().await).0, "CodeMismatchException", "{name}");
        scene.clock.advance(Duration::from_mins(44));
        for _ in 0..5 {
            assert_eq!(forgot().await.unwrap(), delivery, "{name}: the answer is stable");
        }
        sent.extend(scene.take_messages().await);
        assert_eq!(refusal(forgot().await).0, "LimitExceededException", "{name}");
        // Wrong passwords lock the name.
        for _ in 0..8 {
            scene.sign_in_with_password(name, OTHER).await;
        }
        use narthex::directory::sign_in::{Answer, Flow, Refusal, Reply};
        let answer = Answer::Password(Secret::new(PASSWORD));
        let reply = scene.sign_in.begin(scene.sender(), Flow::UserPassword, name, &answer).await.unwrap();
        if name != "unverified" {
            assert!(matches!(reply, Reply::Refused(Refusal::AttemptsExceeded)), "{name}: {reply:?}");
        }
    }
    let sent: Vec<_> = sent.into_iter().map(|(to, _)| to).collect();
    assert_eq!(sent, ["ada@example.com"; 6], "nothing is sent to others");
    // A client may ask for plain answers.
    let plain = AppClientSettings { hide_unknown_users: false, ..scene.client.settings.clone() };
    let client = narthex::model::AppClient { settings: plain, ..scene.client.clone() };
    let sender = narthex::directory::Sender { client: &client, ..scene.sender() };
    let forgot = refusal(scene.accounts.forgot_password(sender, "nobody").await);
    assert_eq!(forgot.1, "Username/client id combination not found.");
    let forgot = refusal(scene.accounts.forgot_password(sender, "unverified").await);
    assert_eq!(forgot.0, "InvalidParameterException");
    let resent = refusal(scene.accounts.resend_sign_up_code(sender, "nobody").await);
    assert_eq!(resent.0, "UserNotFoundException");
}

async fn pain_1_a_new_address_waits_for_its_code(engine: Engine) {
    let scene = AccountScene::new(engine, email_alias()).await;
    let ada = scene.create_user("ada", "ada@example.com").await;
    // 1: a mistyped address, never confirmed.
    let changes = Attributes::from_iter([("email", "adda@example.com"), ("name", "Ada")]);
    let changed = scene.accounts.update_own_attributes(scene.sender(), &ada, &changes).await.unwrap();
    assert_eq!(changed.0.email(), Some("ada@example.com"));
    assert_eq!((changed.0.attributes.get("name"), changed.1.len()), (Some("Ada"), 1));
    assert_eq!(scene.take_code().await.0, "adda@example.com");
    assert!(
        scene.sign_in_with_password("ada@example.com", PASSWORD).await.is_some(),
        "the old address signs in"
    );
    assert!(scene.sign_in_with_password("adda@example.com", PASSWORD).await.is_none());
    scene.accounts.forgot_password(scene.sender(), "ada@example.com").await.unwrap();
    assert_eq!(scene.take_code().await.0, "ada@example.com", "and gets the codes");
    // The right one, confirmed by a code that was asked for again.
    let changes = Attributes::from_iter([("email", "ada@new.example")]);
    scene.accounts.update_own_attributes(scene.sender(), &ada, &changes).await.unwrap();
    let (_, first) = scene.take_code().await;
    let (email, sender) = (SignInAttribute::Email, scene.sender());
    scene.accounts.send_attribute_code(sender, &ada, email).await.unwrap();
    let (to, second) = scene.take_code().await;
    assert_eq!(to, "ada@new.example");
    if first != second {
        let early = scene.accounts.verify_own_attribute(sender, &ada, email, &first).await;
        assert_eq!(refusal(early).0, "CodeMismatchException");
    }
    let verified = scene.accounts.verify_own_attribute(sender, &ada, email, &second).await.unwrap();
    assert_eq!((verified.email(), verified.email_verified()), (Some("ada@new.example"), true));
    assert!(scene.sign_in_with_password("ada@new.example", PASSWORD).await.is_some());
    assert!(scene.sign_in_with_password("ada@example.com", PASSWORD).await.is_none());
    let again = scene.accounts.verify_own_attribute(sender, &ada, email, &second).await;
    assert_eq!(refusal(again).0, "ExpiredCodeException");
    let phone = scene.accounts.send_attribute_code(sender, &ada, SignInAttribute::PhoneNumber).await;
    assert_eq!(refusal(phone).0, "InvalidParameterException");
}

async fn an_administrator_states_that_an_address_is_verified(engine: Engine) {
    let scene = AccountScene::new(engine, email_alias()).await;
    scene.create_user("ada", "ada@example.com").await;
    let change = async |changes: &[(&str, &str)]| {
        let changes = changes.iter().copied().collect();
        scene.accounts.admin_update_attributes(scene.administration(), "ada", &changes).await
    };
    let stated = change(&[("email", "ada@new.example"), ("email_verified", "true")]).await.unwrap();
    assert_eq!((stated.email(), stated.email_verified()), (Some("ada@new.example"), true));
    assert!(scene.take_messages().await.is_empty());
    // The pool verifies before it updates: the address waits for its code.
    let waiting = change(&[("email", "ada@third.example"), ("name", "Ada")]).await.unwrap();
    assert_eq!((waiting.email(), waiting.attributes.get("name")), (Some("ada@new.example"), Some("Ada")));
    let (to, code) = scene.take_code().await;
    assert_eq!(to, "ada@third.example");
    let (email, sender) = (SignInAttribute::Email, scene.sender());
    let ada = scene.accounts.verify_own_attribute(sender, &waiting, email, &code).await.unwrap();
    assert_eq!((ada.email(), ada.email_verified()), (Some("ada@third.example"), true));
    let refuted = change(&[("email_verified", "false")]).await.unwrap();
    assert!(!refuted.email_verified() && scene.take_messages().await.is_empty());
    assert!(scene.sign_in_with_password("ada@third.example", PASSWORD).await.is_none(), "no alias");
}

async fn an_address_that_is_the_user_name_waits_in_every_pool(engine: Engine) {
    let scene = AccountScene::new(engine, email_username()).await;
    let ada = scene.create_user("ada@example.com", "ada@example.com").await;
    scene.create_user("bob@example.com", "bob@example.com").await;
    let change = async |email: &str| {
        let changes = Attributes::from_iter([("email", email)]);
        scene.accounts.update_own_attributes(scene.sender(), &ada, &changes).await
    };
    assert_eq!(refusal(change("bob@example.com").await).0, "AliasExistsException");
    let phone = Attributes::from_iter([("phone_number", "+4915112345678")]);
    scene.accounts.update_own_attributes(scene.sender(), &ada, &phone).await.unwrap();
    change("ada@new.example").await.unwrap();
    let (to, code) = scene.take_code().await;
    assert_eq!(to, "ada@new.example");
    assert!(scene.sign_in_with_password("ada@new.example", PASSWORD).await.is_none(), "not before its code");
    assert!(scene.sign_in_with_password("ada@example.com", PASSWORD).await.is_some());
    // Meanwhile somebody signs up with it.
    scene.sign_up("ada@new.example", &[]).await.unwrap();
    scene.take_messages().await;
    let (email, sender) = (SignInAttribute::Email, scene.sender());
    let verified = scene.accounts.verify_own_attribute(sender, &ada, email, &code).await;
    assert_eq!(refusal(verified).0, "AliasExistsException");
    assert!(scene.sign_in_with_password("ada@example.com", PASSWORD).await.is_some(), "nothing changed");
}

async fn a_client_writes_its_attributes_alone(engine: Engine) {
    let scene = AccountScene::new(engine, email_alias()).await;
    let ada = scene.create_user("ada", "ada@example.com").await;
    let settings = AppClientSettings {
        write_attributes: Some(vec!["name".to_owned(), "email".to_owned()]),
        ..scene.client.settings.clone()
    };
    let client = narthex::model::AppClient { settings, ..scene.client.clone() };
    let sender = narthex::directory::Sender { client: &client, ..scene.sender() };
    let change = async |name: &str, value: &str| {
        let changes = Attributes::from_iter([(name, value)]);
        scene.accounts.update_own_attributes(sender, &ada, &changes).await
    };
    change("name", "Ada").await.unwrap();
    for (name, value) in [("nickname", "a"), ("email_verified", "true")] {
        assert_eq!(
            refusal(change(name, value).await),
            ("NotAuthorizedException".into(), "A client attempted to write unauthorized attribute".into()),
            "{name}"
        );
    }
    let sign_up = SignUp {
        username: "eve",
        password: Some(&Secret::new(PASSWORD)),
        attributes: &Attributes::from_iter([("nickname", "e")]),
    };
    assert_eq!(refusal(scene.accounts.sign_up(sender, sign_up).await).0, "NotAuthorizedException");
    assert_eq!(refusal(change("email", "no address").await).0, "InvalidParameterException");
}

async fn a_changed_password_is_checked_like_a_sign_in(engine: Engine) {
    let scene = AccountScene::new(engine, email_alias()).await;
    let ada = scene.create_user("ada", "ada@example.com").await;
    let (kept, other) = (
        scene.sign_in_with_password("ada", PASSWORD).await.unwrap(),
        scene.sign_in_with_password("ada", PASSWORD).await.unwrap(),
    );
    let family = scene
        .tokens
        .user_of_access_token(&scene.pool, crate::support::accounts::ISSUER, &kept.tokens.access_token, None)
        .await
        .unwrap()
        .claims
        .origin_jti;
    let change = async |previous: &str, proposed: &str| {
        let passwords = (&Secret::new(previous), &Secret::new(proposed));
        let current = Current { session: None, family: Some(&family) };
        scene.accounts.change_password(scene.sender(), &ada, current, passwords).await
    };
    assert_eq!(refusal(change(OTHER, OTHER).await).1, "Incorrect username or password.");
    assert_eq!(refusal(change(PASSWORD, "short").await).0, "InvalidPasswordException");
    change(PASSWORD, OTHER).await.unwrap();
    // 36: all others end, and that of the change stays.
    assert!(scene.is_valid(&kept).await && !scene.is_valid(&other).await);
    assert!(scene.sign_in_with_password("ada", OTHER).await.is_some());
    for _ in 0..5 {
        change(PASSWORD, OTHER).await.unwrap_err();
    }
    assert_eq!(refusal(change(OTHER, PASSWORD).await).1, "Password attempts exceeded");
}

async fn administrators_create_invite_and_reset(engine: Engine) {
    let scene = AccountScene::new(engine, email_alias()).await;
    let new = |name: &str, invitation| AdminNewUser {
        username: name.to_owned(),
        attributes: Attributes::from_iter([("email", "ada@example.com"), ("email_verified", "true")]),
        temporary_password: None,
        invitation,
        takeover: Takeover::Refuse,
    };
    let by_email = Invitation::Send(vec![SignInAttribute::Email]);
    let administration = scene.administration();
    let create = async |new| scene.accounts.admin_create_user(administration, new).await;
    let ada = create(new("ada", by_email.clone())).await.unwrap();
    assert_eq!(ada.status, UserStatus::ForceChangePassword);
    let [(to, text)] = &scene.take_messages().await[..] else { panic!() };
    assert!(to == "ada@example.com" && text.contains("ada"), "{text}");
    let taken = refusal(create(new("ada", Invitation::Suppress)).await);
    assert_eq!(taken, ("UsernameExistsException".into(), "User account already exists".into()));
    scene.accounts.admin_resend_invitation(administration, "ada", &by_email, None).await.unwrap();
    let [(_, second)] = &scene.take_messages().await[..] else { panic!() };
    assert_ne!(text, second, "another password");
    // Without a message nobody would know the new password.
    let silent = scene.accounts.admin_resend_invitation(administration, "ada", &Invitation::Default, None);
    assert_eq!(refusal(silent.await).1, "User has no address for the invitation.");
    let given = Some(Secret::new(OTHER));
    scene.accounts.admin_resend_invitation(administration, "ada", &by_email, given).await.unwrap();
    let [(_, third)] = &scene.take_messages().await[..] else { panic!() };
    assert!(third.contains(OTHER), "{third}");
    let bare = AdminNewUser { attributes: Attributes::default(), ..new("bare", Invitation::Default) };
    create(bare).await.unwrap();
    assert!(scene.take_messages().await.is_empty(), "no phone number, no message");
    // A temporary password cannot stay.
    let reset = scene.accounts.admin_reset_password(administration, "ada").await;
    assert_eq!(refusal(reset).1, "User password cannot be reset in the current state.");
    let password = &Secret::new(PASSWORD);
    scene.accounts.admin_set_password(administration, "ada", (password, true)).await.unwrap();
    let again = scene.accounts.admin_resend_invitation(administration, "ada", &by_email, None).await;
    assert_eq!(refusal(again).0, "UnsupportedUserStateException");
    let tokens = scene.sign_in_with_password("ada", PASSWORD).await.unwrap();
    scene.accounts.admin_reset_password(administration, &ada.id).await.unwrap();
    assert!(!scene.is_valid(&tokens).await && scene.sign_in_with_password("ada", PASSWORD).await.is_none());
    let (_, code) = scene.take_code().await;
    let new = &Secret::new(OTHER);
    let set = scene.accounts.confirm_forgot_password(scene.sender(), "ada", &code, new).await;
    assert_eq!(set.unwrap().status, UserStatus::Confirmed);
    assert!(scene.sign_in_with_password("ada", OTHER).await.is_some());
    scene.sign_up("bob", &[]).await.unwrap();
    let bob = scene.accounts.admin_confirm_sign_up(scene.administration(), "bob").await.unwrap();
    assert_eq!(bob.status, UserStatus::Confirmed);
    let gone = scene.accounts.admin_set_password(administration, "nobody", (password, true)).await;
    assert_eq!(refusal(gone).0, "UserNotFoundException");
}

async fn messages_have_limits(engine: Engine) {
    let scene = AccountScene::new(engine, email_alias()).await;
    scene.create_user("ada", "ada@example.com").await;
    for _ in 0..5 {
        scene.accounts.forgot_password(scene.sender(), "ada").await.unwrap();
    }
    let refused = scene.accounts.forgot_password(scene.sender(), "ada").await.unwrap_err();
    assert_eq!(refused.message(), "Attempt limit exceeded, please try after some time.");
    assert!(refused.retry_after().is_some_and(|wait| wait <= Duration::from_secs(720)));
    // Each event has its own: somebody else's wish for a new password does not block an address.
    let ada = scene.store.user_by_username(&scene.pool.id, "ada").await.unwrap().unwrap();
    scene.accounts.send_attribute_code(scene.sender(), &ada, SignInAttribute::Email).await.unwrap();
    // A number in a country that the operator does not allow: nothing is written.
    let settings = PoolSettings { auto_verified: vec![SignInAttribute::PhoneNumber], ..email_alias() };
    let mut scene = scene;
    scene.pool.settings = settings;
    let refused = refusal(scene.sign_up("eve", &[("phone_number", "+881234567890")]).await);
    assert_eq!(refused.0, "CodeDeliveryFailureException");
    assert!(scene.store.user_by_username(&scene.pool.id, "eve").await.unwrap().is_none());
}

async fn a_code_is_void_once_its_address_is_not_the_users(engine: Engine) {
    let scene = AccountScene::new(engine, email_alias()).await;
    let ada = scene.create_user("ada", "ada@example.com").await;
    scene.accounts.forgot_password(scene.sender(), "ada").await.unwrap();
    let (_, code) = scene.take_code().await;
    // Somebody else reads the old mailbox, and Ada moves to another one.
    let changes = Attributes::from_iter([("email", "ada@new.example")]);
    scene.accounts.update_own_attributes(scene.sender(), &ada, &changes).await.unwrap();
    let (_, of_address) = scene.take_code().await;
    let (email, sender) = (SignInAttribute::Email, scene.sender());
    scene.accounts.verify_own_attribute(sender, &ada, email, &of_address).await.unwrap();
    let set = scene.accounts.confirm_forgot_password(sender, "ada", &code, &Secret::new(OTHER)).await;
    assert_eq!(refusal(set).0, "ExpiredCodeException");
    assert!(scene.sign_in_with_password("ada", PASSWORD).await.is_some());
}

async fn the_code_of_a_sign_up_goes_to_the_typed_address(engine: Engine) {
    let both = vec![SignInAttribute::Email, SignInAttribute::PhoneNumber];
    let sign_in = SignInSettings { username_attributes: both.clone(), ..Default::default() };
    let settings = PoolSettings { sign_in, auto_verified: both, ..email_username() };
    let scene = AccountScene::new(engine, settings).await;
    let number = "+4915112345678";
    scene.sign_up("owner@example.com", &[("phone_number", number)]).await.unwrap();
    let (to, _) = scene.take_code().await;
    assert_eq!(to, "owner@example.com", "the owner must get the code");
    scene.sign_up("+4915112345679", &[("email", "eve@example.com")]).await.unwrap();
    let (to, _) = scene.take_code().await;
    assert_eq!(to, "+4915112345679");
}

async fn a_second_address_is_no_name_before_it_is_verified(engine: Engine) {
    let both = vec![SignInAttribute::Email, SignInAttribute::PhoneNumber];
    let sign_in = SignInSettings { username_attributes: both, ..Default::default() };
    let scene = AccountScene::new(engine, PoolSettings { sign_in, ..email_username() }).await;
    let number = "+4915112345678";
    scene.sign_up("eve@example.com", &[("phone_number", number)]).await.unwrap();
    let (_, code) = scene.take_code().await;
    confirm(&scene, "eve@example.com", &code).await.unwrap();
    assert!(scene.sign_in_with_password("eve@example.com", PASSWORD).await.is_some());
    assert!(scene.sign_in_with_password(number, PASSWORD).await.is_none(), "somebody else's number");
    let found = scene.store.find_user(&scene.pool, number, narthex::store::Lookup::Administrator).await;
    assert!(found.unwrap().is_none());
    let owner = scene.sign_up(number, &[]).await.unwrap();
    assert_eq!(owner.attributes.get("phone_number"), Some(number));
}

async fn an_immutable_address_is_verified(engine: Engine) {
    let email = narthex::model::SchemaAttribute {
        mutable: false,
        ..PoolSettings::default().schema.get("email").unwrap().clone()
    };
    let schema = narthex::model::Schema::new(vec![email]);
    let scene = AccountScene::new(engine, PoolSettings { schema, ..email_alias() }).await;
    scene.sign_up("ada", &[("email", "ada@example.com")]).await.unwrap();
    scene.take_messages().await;
    let ada = scene.accounts.admin_confirm_sign_up(scene.administration(), "ada").await.unwrap();
    let (email, sender) = (SignInAttribute::Email, scene.sender());
    scene.accounts.send_attribute_code(sender, &ada, email).await.unwrap();
    let (_, code) = scene.take_code().await;
    let verified = scene.accounts.verify_own_attribute(sender, &ada, email, &code).await.unwrap();
    assert!(verified.email_verified());
}

async fn an_address_gets_few_messages_from_many_accounts(engine: Engine) {
    let scene = AccountScene::new(engine, email_alias()).await;
    for at in 0..5 {
        scene.sign_up(&format!("user-{at}"), &[("email", "victim@example.com")]).await.unwrap();
    }
    let sixth = scene.sign_up("user-5", &[("email", "Victim@example.com")]).await;
    assert_eq!(refusal(sixth).0, "LimitExceededException");
}

async fn a_message_does_not_outlive_its_user(engine: Engine) {
    let scene = AccountScene::new(engine, email_alias()).await;
    let ada = scene.create_user("ada", "ada@example.com").await;
    scene.create_user("bob", "bob@example.com").await;
    for name in ["ada", "bob"] {
        scene.accounts.forgot_password(scene.sender(), name).await.unwrap();
    }
    let now = scene.clock.now();
    let deleted = scene.store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
        let ada = &ada;
        Box::pin(async move { narthex::directory::delete_user(tx, ada, now, &SystemEntropy).await })
    });
    deleted.await.unwrap();
    assert_eq!(scene.take_code().await.0, "bob@example.com");
}

/// The command, beside a running node that sends the message.
#[test]
fn the_command_resets_a_password() {
    let narthex = NarthexBuilder::new()
        .tables("[mail]\nsmtp = \"log\"\nfrom = \"no-reply@example.com\"\n")
        .route("app", 1, "access = \"public\"\n")
        .start();
    let users = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_narthex"));
        let output = command.arg("users").args(arguments).current_dir(narthex.folder()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (output.status.success(), text(&output.stdout) + &text(&output.stderr))
    };
    let email = ["--attribute", "email=ada@example.com", "--attribute", "email_verified=true"];
    assert!(users(&[&["create", "ada"][..], &email].concat()).0);
    let (good, reset) = users(&["reset-password", "ada"]);
    assert!(good && reset == "a code is sent to a***@e***\n", "{reset}");
    assert!(users(&["show", "ada"]).1.contains("RESET_REQUIRED"));
    wait_until("the code is in the log", || narthex.log().contains("Your code to reset the password is"));
    let (good, printed) = users(&["reset-password", "ada", "--print"]);
    assert!(good && printed.starts_with("temporary password: "), "{printed}");
    assert!(users(&["show", "ada"]).1.contains("FORCE_CHANGE_PASSWORD"));
    let (good, refused) = users(&["reset-password", "nobody"]);
    assert!(!good && refused.contains("UserNotFoundException: User does not exist."), "{refused}");
    users(&["create", "bob"]);
    let (good, refused) = users(&["reset-password", "bob"]);
    assert!(!good && refused.contains("no registered/verified email or phone_number"), "{refused}");
}

/// Attempts count as failed until they are compared: they wait for each other.
async fn many_right_passwords_at_the_same_time_sign_in(engine: Engine) {
    let scene = AccountScene::new(engine, email_alias()).await;
    scene.create_user("ada", "ada@example.com").await;
    let all =
        futures_util::future::join_all((0..30).map(|_| scene.sign_in_with_password("ada", PASSWORD))).await;
    assert_eq!(all.iter().filter(|tokens| tokens.is_some()).count(), 30);
    let wrong =
        futures_util::future::join_all((0..30).map(|_| scene.sign_in_with_password("ada", OTHER))).await;
    assert!(wrong.iter().all(Option::is_none));
    assert!(
        scene.sign_in_with_password("ada", PASSWORD).await.is_none(),
        "guesses at the same time lock the user"
    );
}

async fn one_network_does_not_take_the_places_of_others(engine: Engine) {
    let scene = AccountScene::new(engine, email_alias()).await;
    let begin = async |network: u64| {
        let sender = Sender { network, ..scene.sender() };
        scene.sign_in.begin(sender, Flow::UserSrp, "nobody", &Answer::SrpA("1f".repeat(300))).await
    };
    let others = futures_util::future::join_all((0..64).map(|_| begin(1)));
    let (_, honest) = tokio::join!(others, begin(2));
    assert!(honest.is_ok(), "{honest:?}");
}

async fn wrong_codes_of_a_sign_up_do_not_reveal_it(engine: Engine) {
    let scene = AccountScene::new(engine, email_alias()).await;
    scene.sign_up("ada", &[("email", "ada@example.com")]).await.unwrap();
    scene.sign_up("without", &[]).await.unwrap();
    let mut answers = Vec::new();
    for name in ["ada", "without", "nobody"] {
        let mut of_name = Vec::new();
        for _ in 0..8 {
            of_name.push(confirm(&scene, name, &Secret::new("wrong")).await.unwrap_err());
            scene.clock.advance(Duration::from_mins(16));
        }
        answers.push(of_name);
    }
    assert_eq!(answers[0], answers[2]);
    assert_eq!(answers[1], answers[2]);
    let resend = async |name: &str| scene.accounts.resend_sign_up_code(scene.sender(), name).await;
    for name in ["ada", "without", "nobody"] {
        assert_eq!(resend(name).await.unwrap().attribute, SignInAttribute::Email, "{name}");
    }
}

/// A stored name lacks what is not displayed: such a name would be the address of another person.
async fn an_invisible_character_takes_no_address(engine: Engine) {
    let aliases = vec![SignInAttribute::Email, SignInAttribute::PreferredUsername];
    let sign_in = SignInSettings { alias_attributes: aliases, ..Default::default() };
    let scene = AccountScene::new(engine, PoolSettings { sign_in, ..email_alias() }).await;
    let user = scene.create_user("mallory", "mallory@example.com").await;
    let plain = ["victim@example.com", "VICTIM@example.com", "victim@example.com."];
    let invisible =
        ["\u{200b}", "\u{ad}", "\u{2060}", "\u{fe0f}", "\u{34f}", "\u{180e}", "\u{feff}", "\0", "\n", " "];
    let places = invisible
        .iter()
        .flat_map(|c| [format!("victim@example.com{c}"), format!("vic{c}tim@exam{c}ple.com")]);
    let names: Vec<String> = plain.map(str::to_owned).into_iter().chain(places).collect();
    for name in names {
        let changes = Attributes::from_iter([("preferred_username", name.as_str())]);
        let updated = scene.accounts.update_own_attributes(scene.sender(), &user, &changes).await;
        assert_eq!(refusal(updated).0, "InvalidParameterException", "{name:?}");
        let signed_up = scene.sign_up("other", &[("preferred_username", name.as_str())]).await;
        assert_eq!(refusal(signed_up).0, "InvalidParameterException", "{name:?}");
    }
    scene.create_user("victim", "victim@example.com").await;
    assert!(scene.sign_in_with_password("victim@example.com", PASSWORD).await.is_some());
}
