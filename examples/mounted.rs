//! The callback mounted in another axum application, which listens, routes and logs in its own way.

use axum::Router;
use axum::routing::get;
use tokio_util::sync::CancellationToken;
use wecom_kf::app::App;
use wecom_kf::config::{Config, Environment};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = Config::load("config.toml".as_ref(), &Environment::of_process())?.config;
    let kf = App::builder(config).build().await?;

    // The URL for WeCom's console is then https://my.host/wecom/callback/main
    let router = Router::new()
        .route("/", get(|| async { "a site of its own" }))
        .nest("/wecom", kf.callback_router());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;

    let stop = CancellationToken::new();
    let site = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
    let ctrl_c = async {
        let _ = tokio::signal::ctrl_c().await;
        stop.cancel();
    };
    let (served, (), ()) = tokio::join!(site.into_future(), kf.run(stop.clone()), ctrl_c);
    Ok(served?)
}
