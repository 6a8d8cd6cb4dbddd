//! Budgets made, changed, paused, overridden, topped up and removed by forms without script.

use http::Method;
use serde_json::json;

use super::{FORM, Scene, send};
use crate::support::caller::{Reply, read};

const FILE: &str = "[[budgets]]\nname = \"filed\"\nwindow = \"day\"\nlimit_usd = 5\n";

async fn submit(scene: &Scene, path: &str, form: &str) -> Reply {
    send(&scene.caller, Method::POST, path, FORM, if form.is_empty() { "x=" } else { form }).await
}

/// The value of the hidden field that makes one form one top-up.
fn form_of(page: &str) -> &str {
    page.split("name=\"form\" value=\"").nth(1).unwrap().split('"').next().unwrap()
}

/// What a browser sends of the page's form as it is shown: each control's name and value.
fn controls(page: &str) -> Vec<(String, String)> {
    let form = page.split("<form class=\"fields\"").nth(1).unwrap().split("</form>").next().unwrap();
    let attribute = |tag: &str, name: &str| {
        let value = tag.split(&format!(" {name}=\"")).nth(1)?.split('"').next()?;
        Some(value.to_owned())
    };
    let mut controls: Vec<(String, String)> = Vec::new();
    let mut fresh = false;
    for tag in form.split('<').map(|tag| tag.split('>').next().unwrap()) {
        if tag.starts_with("input ") && (!tag.contains("type=\"checkbox\"") || tag.contains(" checked")) {
            controls.push((attribute(tag, "name").unwrap(), attribute(tag, "value").unwrap_or_default()));
        } else if tag.starts_with("select ") {
            controls.push((attribute(tag, "name").unwrap(), String::new()));
            fresh = true;
        } else if tag.starts_with("option ") && (fresh || tag.contains(" selected")) {
            controls.last_mut().unwrap().1 = attribute(tag, "value").unwrap();
            fresh = false;
        }
    }
    controls
}

fn encoded(controls: &[(String, String)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(controls).finish()
}

/// As a browser sends it, with every control of the form, once.
#[tokio::test(flavor = "multi_thread")]
async fn a_form_is_taken_as_it_is_shown() {
    let scene = Scene::on_sqlite(FILE).await;
    let mut new = controls(&scene.caller.get("/budgets/-/new").await.text());
    assert!(new.len() > 10, "{new:?}");
    for (name, value) in &mut new {
        match name.as_str() {
            "name" => "growth".clone_into(value),
            "limit_usd" => "500.00".clone_into(value),
            "each" => "user".clone_into(value),
            _ => {}
        }
    }
    let made = submit(&scene, "/budgets/-/new", &encoded(&new)).await;
    assert_eq!(made.status, 303, "{}", made.text());
    assert_eq!(scene.get("budgets/growth").await["each"], "user");
    let edit = controls(&scene.caller.get("/budgets/growth/edit").await.text());
    let same = submit(&scene, "/budgets/growth/edit", &encoded(&edit)).await;
    assert_eq!(same.status, 303, "{}", same.text());
    assert_eq!(scene.trail("growth").await, ["made page local"], "what is sent back unchanged changes nothing");
    // What a browser asks to try it with.
    let tried = scene.caller.get(&format!("/budgets/-/replay?{}", encoded(&new))).await;
    assert_eq!(tried.status, 200, "{}", tried.text());
    scene.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_make_change_and_remove_budgets() {
    let scene = Scene::on_sqlite(FILE).await;
    let page = scene.caller.get("/budgets/-/new").await.text();
    assert!(page.contains("name=\"limit_usd\"") && !page.contains("<script>"), "{page}");
    let wrong = submit(&scene, "/budgets/-/new", "name=Growth&window=month&limit_usd=%245&app=bot&alert_at=80").await;
    assert_eq!(wrong.status, 400);
    let page = wrong.text();
    for told in
        ["is not a budget name", "&#34;$5&#34; is not a limit", "is not a threshold", "value=\"bot\"", "e-limit_usd"]
    {
        assert!(page.contains(told) || page.contains(&told.replace("&#34;", "&quot;")), "{told}: {page}");
    }
    let each = "name=each&window=month&limit_usd=5&each=user&alert_at=&notify=&when_exceeded=alert";
    assert_eq!(submit(&scene, "/budgets/-/new", each).await.status, 303);
    let edit = scene.caller.get("/budgets/each/edit").await.text();
    assert!(
        edit.contains("name=\"each\"") && edit.contains("value=\"user\""),
        "what a form shows it sends back: {edit}"
    );
    let good = "name=growth&window=month&billing_day=15&week_starts=monday&limit_usd=500.00&app=bot&alert_at=50%25&notify=&time_zone=Europe%2FBerlin&when_exceeded=alert&rollover=on";
    let made = submit(&scene, "/budgets/-/new", good).await;
    assert_eq!((made.status.as_u16(), made.headers["location"].to_str().unwrap()), (303, "/budgets/growth"));
    assert_eq!(submit(&scene, "/budgets/-/new", good).await.status, 409, "the name is taken");
    let page = scene.caller.get("/budgets/growth").await.text();
    for told in ["month from day 15, Europe/Berlin, rolls over", "/budgets/growth/edit", "/budgets/growth/history"] {
        assert!(page.contains(told), "{told}: {page}");
    }
    let edit = scene.caller.get("/budgets/growth/edit").await.text();
    assert!(
        edit.contains("value=\"500.00\"") && edit.contains("value=\"15\"") && !edit.contains("name=\"name\""),
        "{edit}"
    );
    let changed = submit(&scene, "/budgets/growth/edit", &good.replace("500.00", "600.00")).await;
    assert_eq!(changed.status, 303);
    assert_eq!(scene.get("budgets/growth").await["limit_usd"], "600.00");
    let history = scene.caller.get("/budgets/growth/history").await.text();
    assert!(history.contains("limit $500.00 → $600.00") && history.contains("page, local"), "{history}");
    let all = scene.caller.get("/budgets/-/changes").await.text();
    assert!(all.contains("tallyd.toml, at start") && all.contains("growth"), "{all}");

    let ask = scene.caller.get("/budgets/growth/remove").await.text();
    assert!(ask.contains("Remove the budget growth?"));
    assert_eq!(submit(&scene, "/budgets/growth/remove", "").await.status, 303);
    assert_eq!(scene.caller.get("/budgets/growth").await.status, 404);
    assert_eq!(scene.trail("growth").await, ["made page local", "changed page local", "removed page local"]);

    // The file's are read-only, and say so.
    let page = scene.caller.get("/budgets/filed").await.text();
    assert!(page.contains("read-only here") && !page.contains("/budgets/filed/edit"), "{page}");
    for path in ["/budgets/filed/edit", "/budgets/filed/remove", "/budgets/none/edit"] {
        assert_eq!(scene.caller.get(path).await.status, 404, "{path}");
    }
    assert_eq!(submit(&scene, "/budgets/filed/edit", good).await.status, 404);
    scene.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_pause_override_and_top_up_once_a_form() {
    let scene = Scene::on_sqlite(FILE).await;
    for (path, form, told) in [
        ("override", "limit_usd=x&until=soon&reason=y", "is not a limit"),
        ("override", "limit_usd=9&until=soon&reason=y", "does not say until when"),
        ("override", "limit_usd=9&until=1d&reason=", "say why"),
        ("topup", "form=f&amount_usd=ten&note=n", "is not an amount to add"),
    ] {
        let page = submit(&scene, &format!("/budgets/filed/{path}"), form).await;
        assert_eq!(page.status, 400);
        assert!(page.text().contains(told), "{}", page.text());
    }
    let page = scene.caller.get("/budgets/filed").await.text();
    let form = format!("form={}&amount_usd=2.50&note=more", form_of(&page));
    assert_eq!(submit(&scene, "/budgets/filed/topup", &form).await.status, 303);
    let again = submit(&scene, "/budgets/filed/topup", &form).await;
    assert_eq!(again.status, 409);
    assert!(again.text().contains("made already"), "{}", again.text());
    let page = scene.caller.get("/budgets/filed").await.text();
    assert!(page.contains("own limit $5.00 + topped up $2.50"), "{page}");

    assert_eq!(submit(&scene, "/budgets/filed/override", "limit_usd=9&until=2d&reason=launch").await.status, 303);
    let page = scene.caller.get("/budgets/filed").await.text();
    assert!(page.contains("Overridden.") && page.contains("$9.00 until") && page.contains("launch"), "{page}");
    assert_eq!(submit(&scene, "/budgets/filed/override/end", "").await.status, 303);
    assert_eq!(submit(&scene, "/budgets/filed/override/end", "").await.status, 409);
    assert_eq!(submit(&scene, "/budgets/filed/pause", "").await.status, 303);
    let page = scene.caller.get("/budgets/filed").await.text();
    assert!(page.contains("Paused since") && page.contains("/budgets/filed/resume"), "{page}");
    assert!(scene.caller.get("/budgets").await.text().contains("1 paused"));
    assert_eq!(submit(&scene, "/budgets/filed/resume", "").await.status, 303);
    assert_eq!(scene.get("budgets/filed").await["state"], json!("ok"));

    // No other site may do it.
    for path in ["/budgets/filed/pause", "/budgets/filed/topup", "/budgets/-/new", "/tally/v1/budgets/filed/pause"] {
        let headers = [FORM, ("origin", "https://evil.example")];
        let reply = scene.caller.send(Method::POST, path, &headers, "x=").await.unwrap();
        assert_eq!(read(reply).await.status, 403, "{path}");
    }
    assert_eq!(scene.trail("filed").await.len(), 6);
    scene.running.stop().await;
}
