package bench;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import software.amazon.event.ruler.Machine;

/**
 * The twin of {@code match_bench}: reads the same files, takes the same arguments and writes the same lines.
 *
 * <p>One thread matches, and its processor time alone is counted: what the JVM's compiler and collector use beside it is
 * not held against event-ruler. The warm-up passes let the compiler see each set before it is measured.
 */
public final class MatchBench {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final ThreadMXBean THREADS = ManagementFactory.getThreadMXBean();

    /** Keeps the virtual machine from leaving out what nobody looks at. */
    private static volatile long seen;

    private record Rule(String name, String pattern) {}

    public static void main(String[] arguments) throws Exception {
        if (arguments.length != 4) {
            System.err.println("usage: MatchBench EVENTS.jsonl RULES.jsonl WARMUPS PASSES");
            System.exit(2);
        }
        List<String> events = lines(arguments[0]);
        Map<String, List<Rule>> sets = new LinkedHashMap<>();
        for (String line : lines(arguments[1])) {
            JsonNode rule = JSON.readTree(line);
            sets.computeIfAbsent(rule.get("set").textValue(), set -> new ArrayList<>())
                    .add(new Rule(rule.get("name").textValue(), JSON.writeValueAsString(rule.get("pattern"))));
        }
        int warmups = Integer.parseInt(arguments[2]);
        int passes = Integer.parseInt(arguments[3]);
        for (Map.Entry<String, List<Rule>> set : sets.entrySet()) {
            System.out.println(measure(set.getKey(), set.getValue(), events, warmups, passes));
        }
    }

    private static List<String> lines(String path) throws IOException {
        List<String> lines = new ArrayList<>(Files.readAllLines(Path.of(path), StandardCharsets.UTF_8));
        lines.removeIf(String::isBlank);
        return lines;
    }

    private static String measure(String set, List<Rule> rules, List<String> events, int warmups, int passes)
            throws Exception {
        long heapBefore = heapBytes();
        long began = System.nanoTime();
        long cpuBegan = THREADS.getCurrentThreadCpuTime();
        Machine machine = Machine.builder().build();
        int count = 0;
        for (Rule rule : rules) {
            try {
                machine.addRule(rule.name(), rule.pattern());
                count++;
            } catch (Exception refused) {
                System.err.println(set + ": the rule " + rule.name() + " is refused: " + refused.getMessage());
            }
        }
        double buildCpu = (THREADS.getCurrentThreadCpuTime() - cpuBegan) / 1e9;
        double build = (System.nanoTime() - began) / 1e9;
        double heap = (heapBytes() - heapBefore) / 1024.0 / 1024.0;

        for (int pass = 0; pass < warmups; pass++) {
            seen += pass(machine, events);
        }
        began = System.nanoTime();
        cpuBegan = THREADS.getCurrentThreadCpuTime();
        long matches = 0;
        for (int pass = 0; pass < passes; pass++) {
            matches += pass(machine, events);
        }
        double cpu = (THREADS.getCurrentThreadCpuTime() - cpuBegan) / 1e9;
        double seconds = (System.nanoTime() - began) / 1e9;
        seen += matches;
        double matched = (double) events.size() * passes;
        double bytes = passes * (double) events.stream()
                .mapToLong(event -> event.getBytes(StandardCharsets.UTF_8).length).sum();
        return String.format(
                Locale.ROOT,
                "{\"engine\":\"event-ruler\",\"set\":\"%s\",\"rules\":%d,\"build_s\":%.6f,\"build_cpu_s\":%.6f,"
                        + "\"heap_mib\":%.2f,\"events_per_s\":%.0f,\"events_per_cpu_s\":%.0f,\"mb_per_cpu_s\":%.1f,"
                        + "\"matches\":%d}",
                set, count, build, buildCpu, heap, matched / seconds, matched / cpu, bytes / cpu / 1e6,
                matches / Math.max(passes, 1));
    }

    private static long pass(Machine machine, List<String> events) throws Exception {
        long matches = 0;
        for (String event : events) {
            matches += machine.rulesForJSONEvent(event).size();
        }
        return matches;
    }

    private static long heapBytes() {
        System.gc();
        return Runtime.getRuntime().totalMemory() - Runtime.getRuntime().freeMemory();
    }
}
