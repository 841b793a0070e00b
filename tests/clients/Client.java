import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

/** Java's HttpClient: sends GET after a 301, keeps POST after 307 and 308. By default it offers HTTP/2 (h2c). */
public class Client {
    static HttpResponse<String> post(HttpClient client, String url) throws Exception {
        HttpRequest request =
            HttpRequest.newBuilder(URI.create(url)).POST(HttpRequest.BodyPublishers.noBody()).build();
        return client.send(request, HttpResponse.BodyHandlers.ofString());
    }

    static void take(HttpClient client, String url) throws Exception {
        HttpResponse<String> response = post(client, url);
        if (response.statusCode() != 200) throw new IllegalStateException(response + " " + response.body());
        System.out.println(response.body());
    }

    public static void main(String[] args) throws Exception {
        String follower = System.getenv("FOLLOWER") + "/";
        String leader = System.getenv("LEADER") + "/";
        HttpClient following = HttpClient.newBuilder().followRedirects(HttpClient.Redirect.NORMAL).build();
        if (System.getenv("REDIRECT").equals("301")) {
            int turned = post(following, follower).statusCode();
            if (turned != 405) throw new IllegalStateException("" + turned);
            HttpResponse<String> sent = post(HttpClient.newHttpClient(), follower);
            take(following, sent.headers().firstValue("Location").get());
        } else {
            take(following, follower);
        }
        for (int i = 0; i < 20; i += 1) take(following, leader);
        take(following, leader + "?n=3");
    }
}
