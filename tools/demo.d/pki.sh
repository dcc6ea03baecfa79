# SPDX-License-Identifier: Apache-2.0
# Keys, certificates and tokens by openssl and bash alone; sourced.

b64url() { openssl base64 -A | tr '+/' '-_' | tr -d =; }
unhex() { local hex; hex=$(cat); printf '%b' "$(sed 's/../\\x&/g' <<<"$hex")"; }

# make_pki DIR NAME…: DIR/{ca.pem,api.pem,api.key,jwt.key,jwks.json}; the certificate is for the names (DNS or IP:…).
make_pki() {
    local dir=$1 san="" name n
    shift
    for name in "$@"; do
        case $name in IP:*) san+=",$name" ;; *) san+=",DNS:$name" ;; esac
    done
    mkdir -p "$dir"
    (
        umask 077
        ec() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }
        ec "$dir/ca.key" && ec "$dir/api.key"
        openssl genrsa -out "$dir/jwt.key" 2048 2>/dev/null
    ) || return
    openssl req -x509 -new -key "$dir/ca.key" -days 30 -subj "/CN=Sluice demo CA" -out "$dir/ca.pem" \
        -addext basicConstraints=critical,CA:TRUE || return
    openssl req -new -key "$dir/api.key" -subj "/CN=$1" -out "$dir/api.csr" || return
    openssl x509 -req -in "$dir/api.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -CAcreateserial -days 30 \
        -extfile <(printf 'subjectAltName=%s\nbasicConstraints=CA:FALSE\n' "${san#,}") -out "$dir/api.pem" 2>/dev/null || return
    n=$(openssl rsa -in "$dir/jwt.key" -noout -modulus | sed 's/^Modulus=//' | unhex | b64url)
    printf '{"keys":[{"kty":"RSA","use":"sig","alg":"RS256","kid":"demo","n":"%s","e":"AQAB"}]}\n' "$n" >"$dir/jwks.json"
}

# make_token DIR CLAIMS: an RS256 token over the claims (a JSON object's inside), valid for a day.
make_token() {
    local head body now
    now=$(date +%s)
    head=$(printf '{"alg":"RS256","typ":"JWT","kid":"demo"}' | b64url)
    body=$(printf '{"iss":"https://auth.example.com","aud":"orders","iat":%d,"exp":%d,%s}' "$now" $((now + 86400)) "$2" | b64url)
    printf '%s.%s.%s' "$head" "$body" "$(printf '%s.%s' "$head" "$body" | openssl dgst -sha256 -sign "$1/jwt.key" | b64url)"
}
