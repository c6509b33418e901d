import org.springframework.boot.SpringApplication;
import org.springframework.boot.SpringBootConfiguration;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.boot.web.servlet.context.ServletWebServerInitializedEvent;
import org.springframework.context.event.EventListener;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.client.RestClient;

/**
 * A shop of two endpoints: an order asks the stock for itself over HTTP, so that a request is a server's span, a client's
 * below it and a server's below that. What traces it is beside it, not in it.
 *
 * <p>Prints {@code READY port} when it listens.
 */
@SpringBootConfiguration
@EnableAutoConfiguration
@RestController
public class Shop {
  private final RestClient http;
  private int port;

  Shop(RestClient.Builder http) {
    this.http = http.build();
  }

  @GetMapping("/orders/{order}")
  String order(@PathVariable int order) {
    return http.get().uri("http://127.0.0.1:{port}/stock/{order}", port, order).retrieve().body(String.class);
  }

  @GetMapping("/stock/{order}")
  String stock(@PathVariable int order) {
    return "order " + order + " is in stock";
  }

  @GetMapping("/broken")
  String broken() {
    throw new IllegalStateException("no stock");
  }

  @EventListener
  void listening(ServletWebServerInitializedEvent event) {
    port = event.getWebServer().getPort();
  }

  public static void main(String[] arguments) {
    var context = SpringApplication.run(Shop.class, arguments);
    System.out.println("READY " + context.getBean(Shop.class).port);
  }
}
