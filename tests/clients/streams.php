<?php
// PHP: its own streams, which follow a 301 with GET, and curl's, which keep POST if CURLOPT_POSTREDIR says so.
if (!extension_loaded('curl')) {
    exit(77);
}
[$follower, $leader, $redirect] = array_map('getenv', ['FOLLOWER', 'LEADER', 'REDIRECT']);

// PHP complains about a POST that has none.
const TEXT = 'Content-Type: text/plain';

function post(string $url, array $more = []): array
{
    $context = stream_context_create(['http' => $more + ['method' => 'POST', 'header' => TEXT, 'ignore_errors' => true]]);
    $body = file_get_contents($url, false, $context);
    return [$body, $http_response_header];
}
function curl(CurlHandle $handle, string $url, array $options = []): void
{
    curl_setopt_array($handle, $options + [
        CURLOPT_URL => $url, CURLOPT_POST => true, CURLOPT_POSTFIELDS => '', CURLOPT_RETURNTRANSFER => true,
        CURLOPT_FAILONERROR => true, CURLOPT_FOLLOWLOCATION => true, CURLOPT_POSTREDIR => CURL_REDIR_POST_ALL,
    ]);
    $body = curl_exec($handle);
    if ($body === false) {
        throw new Exception(curl_error($handle));
    }
    echo $body, "\n";
}

[$body, $lines] = post("$follower/");
if ($redirect === '301') {
    if (!in_array('HTTP/1.1 405 Method Not Allowed', $lines, true) || !str_contains($body, '--redirect_status 307')) {
        throw new Exception($body);
    }
    $lines = post("$follower/", ['follow_location' => 0])[1];
    $location = current(preg_grep('/^Location: /', $lines));
    $body = post(substr($location, strlen('Location: ')))[0];
}
echo $body, "\n";
curl(curl_init(), "$follower/");
$handle = curl_init();
for ($i = 0; $i < 20; $i++) {
    curl($handle, "$leader/");
}
if (curl_getinfo($handle, CURLINFO_NUM_CONNECTS) !== 0) {
    throw new Exception('the connection is kept');
}
curl($handle, "$leader/?n=3");
curl($handle, "$leader/", [CURLOPT_POSTFIELDS => 'a=b', CURLOPT_HTTPHEADER => ['Expect: 100-continue']]);
echo post("$leader/", ['protocol_version' => 1.1, 'content' => 'a=b', 'header' => [TEXT, 'Connection: close']])[0], "\n";
