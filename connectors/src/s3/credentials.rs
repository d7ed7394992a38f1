//! Who we are to a store: keys of the project, keys of the environment, or the role of the machine that we run on.

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_s3::config::{Credentials, Region, SharedHttpClient};
use tokio::sync::OnceCell;

use super::failure::Failure;
use super::settings::{StoreConfig, Whence};

/// Gives what requests are signed with.
///
/// # Errors
/// Where keys are asked for and there are none.
pub(super) fn provider(
    config: &StoreConfig,
    region: &Region,
    https: impl FnOnce() -> SharedHttpClient,
) -> Result<SharedCredentialsProvider, Failure> {
    if let (Some(id), Some(secret)) = (&config.access_key_id, &config.secret_access_key) {
        let token = config.session_token.as_ref().map(|token| token.expose().to_owned());
        return Ok(keys(id.clone(), secret.expose().to_owned(), token));
    }
    // A store that is not AWS's is shown no proof of a role there unless the project says so.
    let whence = config.credentials.unwrap_or(match config.endpoint {
        Some(_) => Whence::Environment,
        None => Whence::Role,
    });
    match whence {
        Whence::Role => {
            Ok(SharedCredentialsProvider::new(Role { region: region.clone(), http: https(), chain: OnceCell::new() }))
        }
        Whence::Environment => from_environment().ok_or_else(|| {
            let message = "there are no credentials: neither `access_key_id` and `secret_access_key` nor \
                           AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are set";
            Failure::passing("auth", message)
        }),
    }
}

fn keys(id: String, secret: String, token: Option<String>) -> SharedCredentialsProvider {
    SharedCredentialsProvider::new(Credentials::new(id, secret, token, None, "eventyard"))
}

fn from_environment() -> Option<SharedCredentialsProvider> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    Some(keys(variable("AWS_ACCESS_KEY_ID")?, variable("AWS_SECRET_ACCESS_KEY")?, variable("AWS_SESSION_TOKEN")))
}

/// As AWS's own programs look for them: the environment, the profile files, a token of Kubernetes, the container's
/// address, the instance's. What is found holds for a while and is fetched anew before it ends.
#[derive(Debug)]
struct Role {
    region: Region,
    http: SharedHttpClient,
    /// Made when it is first asked, for making it asks.
    chain: OnceCell<DefaultCredentialsChain>,
}

impl ProvideCredentials for Role {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            let make = || {
                let config = ProviderConfig::without_region()
                    .with_region(Some(self.region.clone()))
                    .with_http_client(self.http.clone());
                DefaultCredentialsChain::builder().region(self.region.clone()).configure(config).build()
            };
            self.chain.get_or_init(make).await.provide_credentials().await
        })
    }
}
