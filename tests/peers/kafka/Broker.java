import java.io.File;
import java.io.FileInputStream;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;

/** A Kafka broker that is its own controller: formats its folder if it is new, and runs until it is killed. */
public final class Broker {
    /** The file of properties, then users as {@code StorageTool} takes them in {@code --add-scram}. */
    public static void main(String[] args) throws Exception {
        Properties properties = new Properties();
        try (FileInputStream file = new FileInputStream(args[0])) {
            properties.load(file);
        }
        if (!new File(properties.getProperty("log.dirs"), "meta.properties").exists()) {
            List<String> format = new ArrayList<>(List.of("format", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c", args[0]));
            for (int user = 1; user < args.length; user++) {
                format.add("--add-scram");
                format.add(args[user]);
            }
            int code = kafka.tools.StorageTool.execute(format.toArray(new String[0]), System.out);
            if (code != 0) {
                System.exit(code);
            }
        }
        // It ends when whoever started it does.
        Thread watch = new Thread(() -> {
            try {
                while (System.in.read() >= 0) {}
            } catch (java.io.IOException gone) {
                // The same.
            }
            Runtime.getRuntime().halt(0);
        });
        watch.setDaemon(true);
        watch.start();
        kafka.Kafka.main(new String[] {args[0]});
    }
}
