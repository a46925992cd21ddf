//! The tokens that vendors issue, as data: what each looks like and where that is published.
//!
//! A pattern is tried where one of its keywords was found, and only there; it starts at the keyword
//! unless `back` says how far before it the token may begin. Beside it stand an example that must be
//! found and one that must not: templates, so that no file here holds anything that looks real
//! (`{a36}` is 36 letters and digits; see `examples` in the tests). Not here: passwords and keys that
//! only their names give away (`names`), PEM blocks (`pem`).
//!
//! Sources: "docs:" a vendor's documentation, "gh:" GitHub's list of secret scanning patterns with the
//! vendor's own prefix, "observed": seen in the wild, no published format.

/// One family of tokens.
#[derive(Debug)]
pub struct Rule {
    /// What stands in `[REDACTED:id]`.
    pub id: &'static str,
    /// Words one of which every such token holds; case counts.
    pub keywords: &'static [&'static str],
    /// The token, in the syntax of the regex crate.
    pub pattern: &'static str,
    /// How many bytes before the keyword the token may begin, if all of them are `lead`.
    pub back: usize,
    /// What may stand between the token's beginning and its keyword.
    pub lead: fn(u8) -> bool,
    /// How many bytes of `lead` there must be at least; if any, the pattern begins at the keyword, not before.
    pub least: usize,
    /// How many letters, digits, `_` or `-` must follow a keyword: spares words that hold one by chance.
    pub run: usize,
    /// Where its format comes from.
    pub source: &'static str,
    /// A template of a token that must be found.
    pub yes: &'static str,
    /// A template of a text that must be left.
    pub no: &'static str,
}

const fn rule(
    id: &'static str,
    keywords: &'static [&'static str],
    pattern: &'static str,
    source: &'static str,
    yes: &'static str,
    no: &'static str,
) -> Rule {
    Rule { id, keywords, pattern, back: 0, lead: in_word, least: 0, run: 0, source, yes, no }
}

impl Rule {
    const fn back(mut self, back: usize, lead: fn(u8) -> bool) -> Self {
        (self.back, self.lead) = (back, lead);
        self
    }

    const fn after(self, least: usize, most: usize, lead: fn(u8) -> bool) -> Self {
        let mut rule = self.back(most, lead);
        rule.least = least;
        rule
    }

    const fn run(mut self, run: usize) -> Self {
        self.run = run;
        self
    }
}

fn in_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn in_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')
}

fn in_address(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'/' | b'.' | b'-')
}

fn in_client_secret(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'~')
}

fn is_hex(byte: u8) -> bool {
    byte.is_ascii_hexdigit()
}

fn is_digit(byte: u8) -> bool {
    byte.is_ascii_digit()
}

/// Every family, in the order in which they name what several of them match.
#[rustfmt::skip]
pub const RULES: &[Rule] = &[
    // Models and what serves them.
    rule("anthropic-key", &["sk-ant-"], r"sk-ant-[a-z]{2,10}[0-9]{0,2}-[\w-]{20,}", "docs: docs.anthropic.com, API overview; oat/ort observed", "sk-ant-api03-{w93}AA", "sk-ant-api03-{x40}"),
    rule("openai-key", &["sk-proj-", "sk-svcacct-", "sk-admin-", "sk-None-", "sk-service-"], r"sk-(?:proj|svcacct|admin|None|service)-[\w-]{20,}", "docs: platform.openai.com, API keys", "sk-proj-{w70}", "sk-proj-{w8}"),
    rule("openrouter-key", &["sk-or-"], r"sk-or-(?:v\d-)?[\w-]{20,}", "docs: openrouter.ai, authentication", "sk-or-v1-{h64}", "sk-or-v1-{h6}"),
    rule("langsmith-key", &["lsv2_"], r"lsv2_(?:pt|sk|service)_[0-9a-f]{32}_[0-9a-f]{10}", "gh: langchain", "lsv2_pt_{h32}_{h10}", "lsv2_pt_{h8}"),
    rule("langfuse-key", &["sk-lf-"], r"sk-lf-[0-9a-f-]{36}", "docs: langfuse.com", "sk-lf-{h8}-{h4}-{h4}-{h4}-{h12}", "sk-lf-{h8}"),
    rule("sk-key", &["sk-"], r"sk-[A-Za-z0-9][\w-]{18,}", "docs: platform.openai.com (legacy), api-docs.deepseek.com, docs.litellm.ai", "sk-{a20}T3BlbkFJ{a20}", "sk-{a6}").run(19),
    rule("huggingface-token", &["hf_", "api_org_"], r"(?:hf_[A-Za-z]{30,40}|hf_[A-Za-z0-9]{34,40}|api_org_[A-Za-z]{34})\b", "docs: huggingface.co/docs/hub/security-tokens", "hf_{A34}", "hf_{A8}").run(30),
    rule("groq-key", &["gsk_"], r"gsk_[A-Za-z0-9]{40,}", "gh: groq", "gsk_{a52}", "gsk_{a9}"),
    rule("xai-key", &["xai-"], r"xai-[A-Za-z0-9_-]{60,}", "gh: xai", "xai-{a80}", "xai-{a9}"),
    rule("replicate-token", &["r8_"], r"r8_[A-Za-z0-9]{35,40}\b", "docs: replicate.com/docs/topics/security/api-tokens", "r8_{a37}", "r8_{a5}"),
    rule("perplexity-key", &["pplx-"], r"pplx-[A-Za-z0-9]{40,}", "docs: docs.perplexity.ai", "pplx-{a48}", "pplx-{a6}"),
    rule("fireworks-key", &["fw_", "fpk_"], r"(?:fw|fpk)_[A-Za-z0-9]{20,}\b", "docs: docs.fireworks.ai", "fw_{a24}", "fw_{a6}").run(20),
    rule("nvidia-key", &["nvapi-"], r"nvapi-[\w-]{40,}", "gh: nvidia", "nvapi-{w64}", "nvapi-{w8}"),
    rule("cerebras-key", &["csk-"], r"csk-[a-z0-9]{40,}", "observed", "csk-{l48}", "csk-{l8}").run(40),
    rule("tavily-key", &["tvly-"], r"tvly-(?:dev-|prod-)?[A-Za-z0-9]{20,}", "gh: tavily", "tvly-{a32}", "tvly-{a5}"),
    rule("google-key", &["AIza"], r"AIza[\w-]{35,}", "gh: google_api_key", "AIza{a35}", "AIza{a9}"),
    rule("google-oauth-secret", &["GOCSPX-"], r"GOCSPX-[\w-]{20,}", "gh: google_oauth_client_secret", "GOCSPX-{w28}", "GOCSPX-{a5}"),
    rule("google-oauth-token", &["ya29."], r"ya29\.[\w.-]{20,}", "gh: google_oauth_access_token", "ya29.{w120}", "ya29.{a4}"),
    rule("google-refresh-token", &["1//0"], r"1//0[\w-]{30,}", "gh: google_oauth_refresh_token", "1//0{w60}", "1//0{a5}"),
    rule("elevenlabs-key", &["sk_"], r"sk_[0-9a-f]{48}\b", "gh: elevenlabs", "sk_{h48}", "sk_{h12}").run(48),
    rule("pinecone-key", &["pcsk_"], r"pcsk_[A-Za-z0-9_]{30,}", "gh: pinecone", "pcsk_{a60}", "pcsk_{a9}"),
    rule("jina-key", &["jina_"], r"jina_[a-f0-9]{32}[\w-]{20,}", "observed", "jina_{h32}{w28}", "jina_{a9}"),
    rule("wandb-key", &["wandb_v1_"], r"wandb_v1_[\w-]{30,}", "gh: weights_and_biases", "wandb_v1_{a70}", "wandb_v1_{a5}"),
    rule("modal-token", &["ak-", "as-"], r"a[ks]-[A-Za-z0-9]{22}\b", "docs: modal.com/docs, token id and secret", "as-{a22}", "as-{a9}").run(22),
    // rrd's own: what lets somebody look.
    rule("rrd-secret", &["rrd_code_", "rrd_cookie_", "rrd_token_"], r"rrd_(?:code|cookie|token)_[\w-]{20,}", "docs: rrd, who may look", "rrd_token_{w43}", "rrd_token_{w8}"),
    // Where code lives and is built.
    rule("github-token", &["ghp_", "gho_", "ghu_", "ghs_", "ghr_"], r"gh[pousr]_[A-Za-z0-9]{30,}", "docs: docs.github.com, token formats", "ghp_{a36}", "ghp_{x36}").run(30),
    rule("github-pat", &["github_pat_"], r"github_pat_\w{36,}", "docs: docs.github.com, token formats", "github_pat_{a22}_{a59}", "github_pat_{a4}"),
    rule("gitlab-token", &["glpat-", "gldt-", "glrt-", "glrtr-", "glptt-", "glft-", "glimt-", "glagent-", "gloas-", "glsoat-", "glffct-", "glcbt-", "glwt-"], r"gl(?:pat|dt|rtr?|ptt|ft|imt|agent|oas|soat|ffct|cbt|wt)-[\w.-]{15,}", "docs: docs.gitlab.com, token overview", "glpat-{w20}", "glpat-{w5}"),
    rule("gitlab-runner", &["GR1348941"], r"GR1348941[\w-]{20,}", "docs: docs.gitlab.com, token overview", "GR1348941{w20}", "GR1348941{a4}"),
    rule("gitlab-session", &["_gitlab_session="], r"_gitlab_session=[0-9A-Za-z%+/=-]{16,}", "docs: docs.gitlab.com, sessions", "_gitlab_session={l32}", "_gitlab_session=x"),
    rule("bitbucket-token", &["ATBB", "ATCTT3xFfG"], r"AT(?:BB[A-Za-z0-9]{24,}|CTT3xFfG[\w=-]{20,})", "gh: atlassian, bitbucket app password", "ATBB{a32}", "ATBB{a6}"),
    rule("atlassian-token", &["ATATT3"], r"ATATT3[\w=-]{40,}", "gh: atlassian_api_token", "ATATT3{w186}", "ATATT3{a9}"),
    rule("npm-token", &["npm_"], r"npm_[A-Za-z0-9]{36,}\b", "docs: github.blog, npm token format", "npm_{a36}", "npm_{a12}").run(36),
    rule("pypi-token", &["pypi-AgE", "pypi-AgN"], r"pypi-Ag[EN][\w-]{40,}", "docs: pypi.org/help, macaroons", "pypi-AgEIcHlwaS5vcmc{w90}", "pypi-AgE{a9}"),
    rule("rubygems-key", &["rubygems_"], r"rubygems_[0-9a-f]{32,}", "docs: guides.rubygems.org", "rubygems_{h48}", "rubygems_{h5}"),
    rule("crates-token", &["cio"], r"cio[A-Za-z0-9]{32}\b", "gh: crates.io", "cio{a32}", "cio{a8}").run(32),
    rule("clojars-token", &["CLOJARS_"], r"(?i)CLOJARS_[a-z0-9]{40,}", "docs: clojars wiki, deploy tokens", "CLOJARS_{h60}", "CLOJARS_{h8}"),
    rule("nuget-key", &["oy2"], r"oy2[a-z0-9]{43}\b", "gh: nuget", "oy2{l43}", "oy2{l9}").run(43),
    rule("docker-token", &["dckr_pat_", "dckr_oat_"], r"dckr_[po]at_[\w-]{20,}", "docs: docs.docker.com, access tokens", "dckr_pat_{w27}", "dckr_pat_{a4}"),
    rule("docker-config", &[".dockerconfigjson", ".dockercfg"], r"\.docker(?:configjson|cfg)\W{1,8}[A-Za-z0-9+/]{24,}={0,2}", "docs: kubernetes.io/docs, Secret types: the file with the registries' passwords in base64", ".dockerconfigjson: eyJhdXRocyI6{b80}=", ".dockerconfigjson: ${x4}"),
    rule("circleci-token", &["CCIPAT_", "CCIPRJ_"], r"CCIP(?:AT|RJ)_[\w]{20,}", "gh: circleci", "CCIPAT_{a22}_{h40}", "CCIPAT_{a4}"),
    rule("buildkite-token", &["bkua_", "bkaj_", "bkct_"], r"bk(?:ua|aj|ct)_[A-Za-z0-9]{30,}", "gh: buildkite", "bkua_{h40}", "bkua_{h6}"),
    rule("sonar-token", &["squ_", "sqp_", "sqa_"], r"sq[upa]_[0-9a-f]{40}\b", "docs: docs.sonarsource.com", "squ_{h40}", "squ_{h9}"),
    rule("sourcegraph-token", &["sgp_", "slk_"], r"(?:sgp_(?:[a-fA-F0-9]{16}_|local_)?[a-fA-F0-9]{40}|slk_[a-f0-9]{64})\b", "docs: sourcegraph.com/docs, access tokens", "sgp_{h40}", "sgp_{h6}").run(40),
    rule("snyk-token", &["snyk_"], r"snyk_(?:uat|sat|cat)\.[\w.-]{30,}", "gh: snyk", "snyk_uat.{h8}.{w60}", "snyk_uat.{a4}"),
    rule("jfrog-token", &["AKC", "cmVmd"], r"(?:AKC[\w]{60,}|cmVmd[A-Za-z0-9+/]{58,}=*)", "docs: jfrog.com, API keys and reference tokens", "AKCp{a69}", "AKCp{a6}"),
    rule("harness-token", &["pat.", "sat."], r"[ps]at\.[\w-]{22}\.[0-9A-Za-z]{24}\.[0-9A-Za-z]{20}\b", "docs: developer.harness.io, API keys", "pat.{w22}.{a24}.{a20}", "pat.{a4}.{a4}"),
    rule("pulumi-token", &["pul-"], r"pul-[a-f0-9]{40}\b", "gh: pulumi", "pul-{h40}", "pul-{h9}"),
    rule("terraform-token", &[".atlasv1."], r"\.atlasv1\.[\w=-]{60,}", "docs: developer.hashicorp.com, HCP Terraform API tokens", "{a14}.atlasv1.{w67}", "{a14}.atlasv1.{a4}").after(10, 20, in_word),
    rule("vault-token", &["hvs.", "hvb.", "hvr."], r"hv[sbr]\.[\w-]{24,}", "docs: developer.hashicorp.com/vault, tokens", "hvs.{w90}", "hvs.{a4}"),
    rule("doppler-token", &["dp.pt.", "dp.st.", "dp.ct.", "dp.sa.", "dp.scim.", "dp.audit.", "dp.said."], r"dp\.(?:pt|st|ct|sa|scim|audit|said)\.(?:[a-z0-9_-]{2,35}\.)?[A-Za-z0-9]{40,44}", "docs: docs.doppler.com, token formats", "dp.pt.{a43}", "dp.pt.{a5}"),
    rule("infisical-token", &["st.##"], r"st\.[0-9a-f]{24}\.[0-9a-f]{32}\.[0-9a-f]{32}", "docs: infisical.com, service tokens", "st.{h24}.{h32}.{h32}", "st.{h6}.{h6}"),
    rule("onepassword-token", &["ops_eyJ"], r"ops_eyJ[\w+/=-]{100,}", "docs: developer.1password.com, service accounts", "ops_eyJ{b250}", "ops_eyJ{a9}"),
    rule("onepassword-key", &["A3-"], r"A3-[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})-[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{5}\b", "docs: support.1password.com, Secret Key", "A3-{u6}-{u6}-{u5}-{u5}-{u5}-{u5}", "A3-{u6}").run(30),
    rule("age-key", &["AGE-SECRET-KEY-"], r"AGE-SECRET-KEY-(?:PQ-)?1[A-Z0-9]{40,}", "docs: age-encryption.org/v1", "AGE-SECRET-KEY-1{u58}", "AGE-SECRET-KEY-1..."),
    rule("contribsys-key", &["BUNDLE_ENTERPRISE__CONTRIBSYS__COM", "BUNDLE_GEMS__CONTRIBSYS__COM"], r"BUNDLE_(?:ENTERPRISE|GEMS)__CONTRIBSYS__COM\W{1,6}[a-f0-9]{8}:[a-f0-9]{8}\b", "docs: github.com/sidekiq/sidekiq wiki, commercial gems", "BUNDLE_GEMS__CONTRIBSYS__COM={h8}:{h8}", "BUNDLE_GEMS__CONTRIBSYS__COM=x"),
    // Clouds.
    rule("aws-key-id", &["AKIA", "ASIA", "ABIA", "ACCA", "A3T"], r"(?:AKIA|ASIA|ABIA|ACCA|A3T[A-Z0-9])[A-Z0-9]{16}\b", "docs: docs.aws.amazon.com, IAM unique identifiers", "AKIA{t16}", "AKIA{t9}EXAMPLE").run(16),
    rule("aws-bedrock-key", &["ABSK", "bedrock-api-key-"], r"(?:ABSK[A-Za-z0-9+/]{80,}={0,2}|bedrock-api-key-YmVkcm9jay5hbWF6b25hd3MuY29t[\w+/=-]*)", "docs: docs.aws.amazon.com/bedrock, API keys", "ABSK{b130}", "ABSK{a9}"),
    rule("aws-mws-key", &["amzn.mws."], r"amzn\.mws\.[0-9a-f]{8}-[0-9a-f-]{27}", "gh: amazon_mws", "amzn.mws.{h8}-{h4}-{h4}-{h4}-{h12}", "amzn.mws.{h4}"),
    rule("aws-session-token", &["FwoGZXIvYXdz", "IQoJb3JpZ2lu"], r"(?:FwoGZXIvYXdz|IQoJb3JpZ2lu)[A-Za-z0-9+/%]{40,}={0,2}", "observed: fixed start of STS tokens", "IQoJb3JpZ2lu{b200}", "IQoJb3JpZ2lu"),
    rule("azure-client-secret", &["0Q~", "1Q~", "2Q~", "3Q~", "4Q~", "5Q~", "6Q~", "7Q~", "8Q~", "9Q~"], r"[\w.~]{3}[0-9]Q~[\w.~-]{31,34}", "gh: azure_active_directory_application_secret", "{a3}8Q~{a34}", "{a3}8Q~{a4}").back(3, in_client_secret),
    rule("azure-storage-key", &["AccountKey="], r"AccountKey=[A-Za-z0-9+/]{40,}={0,2}", "docs: learn.microsoft.com, connection strings", "AccountKey={b86}==", "AccountKey={x9}"),
    rule("azure-shared-key", &["SharedAccessKey=", "SharedSecretIssuer="], r"Shared(?:AccessKey|SecretIssuer)=[A-Za-z0-9+/]{20,}={0,2}", "docs: learn.microsoft.com, Service Bus connection strings", "SharedAccessKey={b43}=", "SharedAccessKey={x9}"),
    rule("azure-devops-pat", &["AZDO"], r"AZDO[A-Za-z0-9]{4}", "docs: learn.microsoft.com, azure devops PAT format", "{a76}AZDO{a4}", "AZDO{a4}").after(76, 76, in_word),
    rule("azure-identifiable-key", &["JQQJ99", "AStorage", "+ASt", "AzFu", "AzSe", "+ACR", "AzCa", "APIM", "ACDb", "+ABa", "+ARm"], r"(?:JQQJ99[A-Za-z0-9]{20,}|\+ASt[A-Za-z0-9+/]{6,}|AzFu[A-Za-z0-9+/]{6,}|AzSe[A-Za-z0-9+/]{6,}|\+ACR[A-Za-z0-9+/]{6,}|AzCa[A-Za-z0-9+/]{5,}|APIM[A-Za-z0-9+/]{6,}|ACDb[A-Za-z0-9+/]{6,}|\+ABa[A-Za-z0-9+/]{6,}|\+ARm[A-Za-z0-9+/]{6,})={1,2}", "docs: learn.microsoft.com, identifiable secrets", "{b76}+ASt{a6}==", "+ASt{a6}==").after(33, 120, in_base64),
    rule("alibaba-key-id", &["LTAI"], r"LTAI[A-Za-z0-9]{12,26}\b", "docs: alibabacloud.com, AccessKey", "LTAI{a20}", "LTAI{a4}"),
    rule("tencent-key-id", &["AKID"], r"AKID[A-Za-z0-9]{32}\b", "gh: tencent_cloud_secret_id", "AKID{a32}", "AKID{a5}"),
    rule("digitalocean-token", &["dop_v1_", "doo_v1_", "dor_v1_"], r"do[por]_v1_[a-f0-9]{64}", "docs: docs.digitalocean.com, personal access tokens", "dop_v1_{h64}", "dop_v1_{h9}"),
    rule("heroku-key", &["HRKU-"], r"HRKU-[\w-]{36,}", "docs: devcenter.heroku.com", "HRKU-AA{w58}", "HRKU-{a5}"),
    rule("fly-token", &["fo1_", "fm1a_", "fm1r_", "fm2_", "FlyV1 "], r"(?:fo1_[\w-]{40,}|fm1[ar]_[A-Za-z0-9+/]{60,}={0,3}|fm2_[A-Za-z0-9+/]{60,}={0,3}|FlyV1 [\w+/=,-]{40,})", "docs: fly.io/docs, access tokens", "fo1_{w43}", "fo1_{a9}"),
    rule("cloudflare-origin-ca", &["v1.0-"], r"v1\.0-[a-f0-9]{24}-[a-f0-9]{146}", "docs: developers.cloudflare.com, Origin CA key", "v1.0-{h24}-{h146}", "v1.0-{h7}"),
    rule("cloudflare-token", &["cfut_", "cfat_", "cfk_"], r"cf(?:ut|at|k)_[A-Za-z0-9]{40,}", "docs: developers.cloudflare.com, token format", "cfut_{a48}", "cfut_{a5}").run(40),
    rule("vercel-token", &["vcp_", "vci_", "vca_", "vcr_", "vck_"], r"vc[piark]_[A-Za-z0-9]{24,}", "gh: vercel", "vcp_{a56}", "vcp_{a5}").run(24),
    rule("netlify-token", &["nfp_", "nfc_", "nfo_", "nfb_", "nfu_"], r"nf[pcobu]_[A-Za-z0-9]{36}", "gh: netlify", "nfp_{a36}", "nfp_{a5}").run(36),
    rule("supabase-token", &["sbp_", "sb_secret_"], r"(?:sbp_(?:v0_|oauth_)?[a-f0-9]{40}|sb_secret_[\w-]{20,})", "docs: supabase.com/docs, API keys", "sbp_{h40}", "sbp_{h5}"),
    rule("planetscale-token", &["pscale_tkn_", "pscale_pw_", "pscale_oauth_"], r"pscale_(?:tkn|pw|oauth)_[\w=.-]{30,}", "docs: planetscale.com/docs", "pscale_pw_{w43}", "pscale_pw_{a4}"),
    rule("neon-key", &["napi_"], r"napi_[a-z0-9]{40,}", "gh: neon", "napi_{l64}", "napi_{l6}"),
    rule("databricks-token", &["dapi", "dose", "dkea"], r"d(?:api|ose|kea)[a-f0-9]{32}(?:-\d)?\b", "gh: databricks", "dapi{h32}", "dapi{h9}").run(32),
    rule("clickhouse-key", &["4b1d"], r"4b1d[A-Za-z0-9]{38}\b", "gh: clickhouse", "4b1d{a38}", "4b1d{a9}").run(38),
    rule("scalingo-token", &["tk-us-"], r"tk-us-[\w-]{40,}", "observed: developers.scalingo.com", "tk-us-{w48}", "tk-us-{a5}"),
    rule("openshift-token", &["sha256~"], r"sha256~[\w-]{40,}", "docs: docs.openshift.com, OAuth tokens", "sha256~{w43}", "sha256~{a5}"),
    rule("tailscale-key", &["tskey-"], r"tskey-[a-z]{2,16}-[A-Za-z0-9]{8,}(?:-[A-Za-z0-9]{10,})?", "docs: tailscale.com/kb, key prefixes", "tskey-auth-{a16}CNTRL-{a32}", "tskey-auth-x"),
    rule("yandex-token", &["t1.", "AQVN", "YC<w><w>"], r"(?:t1\.[\w-]+={0,2}\.[\w-]{86}={0,2}|AQVN[\w-]{35,38}\b|YC[\w-]{38})", "docs: yandex.cloud/docs/iam, credentials", "t1.{a40}.{w86}", "t1.{a4}.{a4}"),
    rule("confluent-key", &["cflt"], r"cflt[A-Za-z0-9+/]{56,60}", "docs: docs.confluent.io, API key format", "cflt{a60}", "cflt{a9}").run(40),
    rule("aiven-token", &["AVNS_", "aivenv1"], r"(?:AVNS_[\w-]{15,}|aivenv1[\w+/=]{100,})", "gh: aiven", "AVNS_{a19}", "AVNS_{a3}"),
    rule("render-key", &["rnd_"], r"rnd_[A-Za-z0-9]{26,32}\b", "docs: render.com/docs/api", "rnd_{a28}", "rnd_{a5}").run(26),
    rule("defined-networking", &["dnkey-"], r"dnkey-[a-z0-9=_-]{26}-[a-z0-9=_-]{52}", "docs: docs.defined.net", "dnkey-{l26}-{l52}", "dnkey-{l5}"),
    // Messages.
    rule("slack-webhook", &["hooks.slack.com"], r"(?:https?://)?hooks\.slack\.com/(?:services|workflows|triggers)/[\w+/-]{30,}", "docs: docs.slack.dev, incoming webhooks", "https://hooks.slack.com/services/T{u9}/B{u9}/{a24}", "https://hooks.slack.com/services/T/B/x").back(8, in_address),
    rule("slack-token", &["xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xoxo-", "xoxc-", "xoxd-", "xoxe-", "xoxe.", "xapp-"], r"(?:xox[abprsocde]-[A-Za-z0-9%-]{8,}|xoxe\.xox[bp]-\d-[A-Z0-9]{100,}|xapp-\d-[A-Z0-9]+-\d+-[a-z0-9]+)", "docs: docs.slack.dev, token types", "xoxb-{d12}-{d13}-{a24}", "xoxb-{x11}-{x24}"),
    rule("discord-webhook", &["/api/webhooks/"], r"(?:https?://)?(?:[a-z]+\.)?discord(?:app)?\.com/api/webhooks/\d{15,}/[\w-]{30,}", "docs: discord.com/developers, webhooks", "https://discord.com/api/webhooks/{d18}/{w68}", "https://discord.com/api/webhooks/1/x").back(40, in_address),
    rule("discord-bot", &["<64>"], r"[MNO][\w-]{22,27}\.[\w-]{6}\.[\w-]{27,45}", "docs: discord.com/developers, reference: a bot's id in base64, a time, a mac", "MTE4NzY1NDMyMTA5ODc2NTQz.G{a5}.{w38}", "MTE4NzY1.G{a5}.x"),
    rule("telegram-bot", &["<d>:A<w>"], r"\d:A[\w-]{34}", "docs: core.telegram.org/bots", "{d9}:AA{w33}", "{d9}:AA{a4}").after(4, 15, is_digit),
    rule("teams-webhook", &["webhook.office.com"], r"https://[a-z0-9-]+\.webhook\.office\.com/webhookb2/[\w@-]{36,}/IncomingWebhook/[\w/-]{32,}", "docs: learn.microsoft.com, Teams incoming webhook", "https://acme.webhook.office.com/webhookb2/{h8}-{h4}-{h4}-{h4}-{h12}@{h8}-{h4}-{h4}-{h4}-{h12}/IncomingWebhook/{h32}/{h8}-{h4}-{h4}-{h4}-{h12}", "https://acme.webhook.office.com/webhookb2/x").back(50, in_address),
    rule("zapier-webhook", &["hooks.zapier.com"], r"(?:https?://)?hooks\.zapier\.com/hooks/catch/\d+/\w{5,}", "docs: help.zapier.com", "https://hooks.zapier.com/hooks/catch/{d7}/{l7}", "https://hooks.zapier.com/hooks/").back(8, in_address),
    rule("sendgrid-key", &["SG."], r"SG\.(?:[\w=.-]{66,}|[\w-]{16,32}\.[\w=.-]{35,})", "docs: twilio.com/docs/sendgrid", "SG.{w22}.{w43}", "SG.{a4}.{a4}"),
    rule("mailgun-key", &["key-", "pubkey-"], r"(?:pub)?key-[a-f0-9]{32}\b", "docs: documentation.mailgun.com", "key-{h32}", "key-{h9}").run(32),
    rule("mailchimp-key", &["-us"], r"-us\d{1,2}\b", "docs: mailchimp.com/developer", "{h32}-us12", "{h9}-us12").after(32, 32, is_hex),
    rule("mandrill-key", &["md-"], r"md-[\w-]{22}\b", "docs: mailchimp.com/developer/transactional", "md-{a22}", "md-{a5}").run(22),
    rule("brevo-key", &["xkeysib-", "xsmtpsib-"], r"x(?:key|smtp)sib-[a-f0-9]{64}-[A-Za-z0-9]{16}", "docs: developers.brevo.com", "xkeysib-{h64}-{a16}", "xkeysib-{h5}"),
    rule("resend-key", &["re_"], r"re_[A-Za-z0-9]{8,10}_[A-Za-z0-9]{20,28}\b", "docs: resend.com/docs", "re_{a8}_{a24}", "re_{a5}").run(29),
    rule("postman-key", &["PMAK-", "PMAT-"], r"PMA[KT]-[A-Za-z0-9-]{26,}", "docs: learning.postman.com", "PMAK-{h24}-{h34}", "PMAK-{h5}"),
    rule("twilio-key", &["SK##", "AC##"], r"(?:SK|AC)[a-fA-F0-9]{32}\b", "docs: twilio.com/docs, API keys", "SK{h32}", "SK{h9}").run(30),
    rule("intercom-token", &["dG9rO"], r"dG9rO[A-Za-z0-9+/]{40,}={0,2}", "gh: intercom", "dG9rO{a60}=", "dG9rO{a5}"),
    rule("telnyx-key", &["KEY0"], r"KEY0[0-9A-F]{28,}_\w{20,}", "gh: telnyx", "KEY0{H31}_{a22}", "KEY0{a5}").run(20),
    // Money and shops.
    rule("stripe-key", &["sk_live_", "sk_test_", "rk_live_", "rk_test_", "sk_prod_", "rk_prod_"], r"[rs]k_(?:live|test|prod)_[A-Za-z0-9]{10,}", "docs: docs.stripe.com/keys", "sk_live_{a24}", "sk_live_{x20}"),
    rule("webhook-secret", &["whsec_"], r"whsec_[A-Za-z0-9+/=_-]{20,}", "docs: docs.stripe.com/webhooks, standardwebhooks.com", "whsec_{a32}", "whsec_{a4}"),
    rule("square-token", &["EAAA", "sq0atp-", "sq0csp-", "sq0idp-"], r"(?:EAAA[\w-]{56,60}|sq0(?:atp|csp|idp)-[\w-]{20,60})", "docs: developer.squareup.com", "sq0csp-{w43}", "sq0csp-{a4}"),
    rule("shopify-token", &["shpat_", "shpca_", "shppa_", "shpss_", "shpua_", "shprt_"], r"shp(?:at|ca|pa|ss|ua|rt)_[a-fA-F0-9]{32}\b", "docs: shopify.dev, access tokens", "shpat_{h32}", "shpat_{h9}"),
    rule("flutterwave-key", &["FLWSECK_TEST-", "FLWPUBK_TEST-", "FLWSECK-", "FLWPUBK-"], r"FLW(?:SEC|PUB)K(?:_TEST)?-[0-9a-zA-Z]{12,}(?:-X)?", "docs: developer.flutterwave.com", "FLWSECK-{h32}-X", "FLWSECK-{h5}"),
    rule("easypost-key", &["EZAK", "EZTK"], r"EZ[AT]K[A-Za-z0-9]{54}\b", "docs: docs.easypost.com", "EZAK{a54}", "EZAK{a9}").run(54),
    rule("shippo-token", &["shippo_"], r"shippo_(?:live|test)_[a-fA-F0-9]{40}\b", "docs: docs.goshippo.com", "shippo_live_{h40}", "shippo_live_{h9}"),
    rule("duffel-token", &["duffel_"], r"duffel_(?:live|test)_[\w=-]{43}", "docs: duffel.com/docs", "duffel_test_{w43}", "duffel_test_{a5}"),
    rule("lob-secret", &["live_", "test_"], r"(?:live|test)_[a-f0-9]{35}\b", "gh: lob", "live_{h35}", "live_{h5}").run(35),
    rule("gocardless-token", &["live_", "sandbox_"], r"(?:live|sandbox)_[\w=-]{40}\b", "docs: developer.gocardless.com", "live_{l40}", "live_{l5}").run(40),
    rule("paypal-braintree", &["access_token$"], r"access_token\$(?:production|sandbox)\$[0-9a-z]{16}\$[0-9a-f]{32}", "gh: paypal_braintree", "access_token$production${l16}${h32}", "access_token$production$x"),
    rule("plaid-token", &["access-sandbox-", "access-development-", "access-production-"], r"access-(?:sandbox|development|production)-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "docs: plaid.com/docs/api/tokens", "access-production-{h8}-{h4}-{h4}-{h4}-{h12}", "access-production-x"),
    rule("lob-key", &["live_pub_", "test_pub_"], r"(?:live|test)_pub_[a-f0-9]{31}\b", "gh: lob", "live_pub_{h31}", "live_pub_{h5}"),
    rule("adobe-secret", &["p8e-", "p8-", "s8e-"], r"(?:p8e?|s8e)-[\w-]{32}\b", "gh: adobe_client_secret", "p8e-{a32}", "p8e-{a5}").run(32),
    // Watching and measuring.
    rule("grafana-token", &["glsa_", "glc_", "eyJrIjoi"], r"(?:glsa_[A-Za-z0-9]{32}_[A-Fa-f0-9]{8}|glc_[A-Za-z0-9+/]{32,}={0,3}|eyJrIjoi[A-Za-z0-9+/]{60,}={0,3})", "docs: grafana.com/docs, service account tokens", "glsa_{a32}_{h8}", "glsa_{x32}_{h8}"),
    rule("sentry-token", &["sntrys_", "sntryu_", "sntryi_", "sntrya_"], r"(?:sntrys_eyJ[\w+/=-]{60,}|sntry[uia]_[a-f0-9]{64})", "docs: docs.sentry.io, auth tokens", "sntryu_{h64}", "sntryu_{h5}"),
    rule("newrelic-key", &["NRAK-", "NRII-", "NRJS-", "NRIQ-", "NRRA-", "NRAA-"], r"NR(?:AK|II|JS|IQ|RA|AA)-[A-Za-z0-9-]{19,}", "docs: docs.newrelic.com, API keys", "NRAK-{u27}", "NRAK-{u5}"),
    rule("newrelic-license", &["NRAL"], r"NRAL\b", "docs: docs.newrelic.com, license key", "{h36}NRAL", "{h5}NRAL").after(36, 36, is_hex),
    rule("dynatrace-token", &["dt0c01.", "dt0s01.", "dt0s02.", "dt0s03.", "dt0s16."], r"dt0[a-z]\d\d\.[A-Za-z0-9-]{8,24}\.[A-Za-z0-9]{64}", "docs: docs.dynatrace.com, access tokens", "dt0c01.{u24}.{u64}", "dt0c01.{u4}"),
    rule("posthog-key", &["phc_", "phx_", "phs_", "pha_"], r"ph[cxsa]_[A-Za-z0-9]{40,}", "docs: posthog.com/docs/api", "phc_{a43}", "phc_{a5}"),
    rule("logfire-token", &["pylf_v"], r"pylf_v\d_[a-z]{2}_[A-Za-z0-9]{30,}", "gh: pydantic", "pylf_v1_us_{a43}", "pylf_v1_us_x"),
    rule("launchdarkly-key", &["sdk-", "mob-", "api-", "rel-"], r"(?:sdk|mob|api|rel)-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "docs: launchdarkly.com/docs, keys", "sdk-{h8}-{h4}-{h4}-{h4}-{h12}", "sdk-{h8}").run(36),
    rule("infracost-key", &["ico-"], r"ico-[A-Za-z0-9]{32}\b", "observed: infracost.io/docs", "ico-{a32}", "ico-{a5}").run(32),
    rule("checkly-key", &["cu_"], r"cu_[a-f0-9]{32}\b", "docs: checklyhq.com/docs", "cu_{h32}", "cu_{h5}").run(32),
    rule("segment-key", &["sgp_"], r"sgp_[A-Za-z0-9]{64}\b", "gh: segment", "sgp_{a64}", "sgp_{a9}").run(64),
    // Tools of offices.
    rule("notion-token", &["ntn_"], r"ntn_[A-Za-z0-9]{40,}", "docs: developers.notion.com", "ntn_{d11}{a35}", "ntn_{a5}"),
    rule("notion-legacy", &["secret_"], r"secret_[A-Za-z0-9]{43}\b", "docs: developers.notion.com", "secret_{a43}", "secret_{a5}").run(43),
    rule("linear-key", &["lin_api_", "lin_oauth_", "lin_wh_"], r"lin_(?:api|oauth|wh)_[A-Za-z0-9]{32,}", "docs: linear.app/developers", "lin_api_{a40}", "lin_api_{a5}"),
    rule("figma-token", &["figd_", "figo_", "figu_", "figoh_"], r"fig(?:d|o|u|oh)_[\w-]{36,}", "docs: figma.com/developers, authentication", "figd_{w40}", "figd_{a5}"),
    rule("airtable-pat", &["pat"], r"pat[A-Za-z0-9]{14}\.[a-f0-9]{64}\b", "docs: airtable.com/developers", "pat{a14}.{h64}", "pat{a14}.{h5}").run(14),
    rule("asana-pat", &["0/1", "1/1", "2/1"], r"[012]/1\d{12,17}(?:/\d{13,18})?:[a-f0-9]{32}\b", "docs: developers.asana.com", "1/1{d15}:{h32}", "1/1{d15}:{h4}").run(12),
    rule("contentful-token", &["CFPAT-"], r"CFPAT-[\w-]{40,}", "docs: contentful.com/developers", "CFPAT-{w43}", "CFPAT-{a5}"),
    rule("typeform-token", &["tfp_"], r"tfp_[\w=.-]{40,}", "docs: typeform.com/developers", "tfp_{w44}_{w14}", "tfp_{a5}"),
    rule("readme-key", &["rdme_"], r"rdme_[a-z0-9]{60,}", "gh: readmeio", "rdme_{l70}", "rdme_{l5}").run(30),
    rule("prefect-key", &["pnu_", "pnb_"], r"pn[ub]_[A-Za-z0-9]{36}\b", "docs: docs.prefect.io", "pnu_{l36}", "pnu_{l5}"),
    rule("frameio-token", &["fio-u-"], r"fio-u-[\w=-]{60,}", "docs: developer.frame.io", "fio-u-{w64}", "fio-u-{a5}"),
    rule("settlemint-token", &["sm_pat_", "sm_aat_", "sm_sat_"], r"sm_[pas]at_[A-Za-z0-9]{16,}\b", "docs: console.settlemint.com/documentation", "sm_pat_{a16}", "sm_pat_{a5}"),
    rule("hubspot-token", &["pat-na", "pat-eu"], r"pat-(?:na|eu)\d-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "docs: developers.hubspot.com", "pat-na1-{h8}-{h4}-{h4}-{h4}-{h12}", "pat-na1-x"),
    rule("salesforce-token", &["00D"], r"00D[A-Za-z0-9]{12,15}![\w.]{80,}", "gh: salesforce_access_token", "00D{a12}!{a96}", "00D{a12}").run(12),
    rule("octopus-key", &["API-"], r"API-[A-Z0-9]{26}\b", "docs: octopus.com/docs, API keys", "API-{u26}", "API-{u5}").run(26),
    rule("okta-token", &["SSWS "], r"SSWS [\w=-]{30,}", "docs: developer.okta.com", "SSWS 00{w40}", "SSWS {a5}"),
    rule("facebook-token", &["EAA"], r"EAA[A-Za-z0-9]{61,}", "gh: facebook/meta access tokens", "EAAM{a120}", "EAAM{a9}").run(61),
    rule("dropbox-token", &["sl."], r"sl\.(?:u\.)?[\w=-]{130,}", "docs: dropbox.com/developers", "sl.{w136}", "sl.{a9}"),
    rule("maxmind-key", &["_mmk"], r"\w{6}_\w{29}_mmk\b", "docs: dev.maxmind.com", "{a6}_{a29}_mmk", "{a6}_mmk").back(36, in_client_secret),
    rule("mapbox-token", &["sk.eyJ", "tk.eyJ", "pk.eyJ"], r"(?:[sp]k|tk)\.[\w-]{60,}\.[\w-]{20,}", "docs: docs.mapbox.com, access tokens", "sk.eyJ{a80}.{w22}", "sk.eyJ{a5}"),
    rule("mapbox-public", &["pk."], r"pk\.[a-z0-9]{60}\.[a-z0-9]{22}\b", "observed: an older shape of Mapbox tokens", "pk.{l60}.{l22}", "pk.{l9}.{l9}").run(60),
    rule("intra42-secret", &["s-s4t2"], r"s-s4t2(?:ud|af)-[a-f0-9]{64}", "docs: api.intra.42.fr", "s-s4t2ud-{h64}", "s-s4t2ud-{h5}"),
    rule("tines-webhook", &["tines.com/webhook/"], r"https://[a-z0-9-]+\.(?:tines\.com|[a-z0-9-]+\.tines\.com)/webhook/[a-z0-9/]{30,}", "gh: tines", "https://acme.tines.com/webhook/{h32}/{h32}", "https://acme.tines.com/webhook/x").back(60, in_address),
    rule("apify-token", &["apify_api_"], r"apify_api_[A-Za-z0-9]{36}", "gh: apify", "apify_api_{a36}", "apify_api_{a5}"),
    rule("thunderstore", &["tss_"], r"tss_[A-Za-z0-9]{36}", "gh: thunderstore", "tss_{a36}", "tss_{a5}").run(36),
    rule("authress-key", &["sc_", "ext_", "scauth_", "authress_"], r"(?:sc|ext|scauth|authress)_[a-z0-9]{5,30}\.[a-z0-9]{4,6}\.acc[_-][a-z0-9-]{10,32}\.[a-z0-9+/_=-]{30,120}", "docs: authress.io", "sc_{l12}.{l5}.acc_{l12}.{l40}", "sc_{l5}").run(5),
    // What several issue.
    rule("jwt", &["eyJ", "ZXlK"], r"(?:eyJ[\w-]{8,}={0,2}\.(?:eyJ|ZXlK|[\w-])[\w/\\-]{8,}={0,2}\.[\w/\\-]{10,}={0,2}|eyJ[\w-]{14,}\.(?:[\w-]*\.){2}[\w-]{8,}\.[\w-]{8,}|ZXlK[A-Za-z0-9+/_=-]{60,})", "docs: RFC 7519, RFC 7516; base64 of one observed", "eyJ{a30}.eyJ{a40}.{w43}", "eyJ{a30}.x").run(8),
    rule("jwt-shaped", &[".ey"], r"ey[A-Za-z0-9]{17,}\.ey[A-Za-z0-9/\\_-]{17,}\.[A-Za-z0-9/\\_-]{10,}={0,2}", "docs: RFC 7519, its header written with blanks or other keys first", "ey{a30}.ey{a40}.{w43}", "ey{a30}.ey{a4}").back(512, in_word),
    rule("private-key-body", &["IBAAKC", "IBAAKB", "IBAAJB", "IBADANBgkq", "AgEAMBMGByqG", "AgEAMBAGByqG", "b3BlbnNzaC1rZXktdjE", "MC4CAQAwBQYDK2VwBCIEI", "MHcCAQEEI", "MIGkAgEBBD", "MIHcAgEBBEI"], r"(?:MI[A-Z][A-Za-z0-9+/]{2,3}(?:IBAAK[BC]|IBAAJB|IBADANBgkq|AgEAMB[AM]GByqG)|b3BlbnNzaC1rZXktdjE|MC4CAQAwBQYDK2VwBCIEI|MHcCAQEEI|MIGkAgEBBD|MIHcAgEBBEI)[A-Za-z0-9+/=\s\\nr]{30,}", "docs: RFC 8017, RFC 5958, RFC 5915, PROTOCOL.key of OpenSSH: how their base64 begins", "MIIEpAIBAAKC{b200}", "MIIBIjANBgkqhkiG9w0BAQ{b60}").back(6, in_base64),
];
