#!/usr/bin/env bash
# Apache Kafka from Maven Central, one KRaft node that is broker and controller. It takes Java 17 and Maven.
# KAFKA_PORT (9192) without credentials; the one after it wants SASL/PLAIN as eventyard with the password "right";
# the second after it is the controller's. From the tenth on there are $PROXIED more, each of which tells clients to come by
# the port fifty above its own: a test that wants to cut connections listens there. All on loopback.
# With KAFKA_SECURED=yes the third after it wants TLS and SCRAM (SHA-256 or SHA-512) from the same user; the certificate
# that is to be trusted is made by openssl.
NAME=kafka
PORT=${KAFKA_PORT:-9192}
VERSION=4.4.0
PROXIED=16
# shellcheck source=tests/services/service.sh
. "$(dirname "${BASH_SOURCE[0]}")/service.sh"

libraries() { echo "$PROGRAMS/kafka-$VERSION"; }

# One resolution for all of them, so that their versions agree. The pom names kafka-tools-api, which is not published;
# nothing that runs here needs it.
install() {
  local folder; folder=$(libraries)
  [ ! -e "$folder/complete" ] || return 0
  say "Kafka $VERSION from Maven Central"
  rm -rf "$folder" && mkdir -p "$folder"
  cat >"$folder/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId><artifactId>kafka</artifactId><version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$VERSION</version>
      <exclusions>
        <exclusion><groupId>org.apache.kafka</groupId><artifactId>kafka-tools-api</artifactId></exclusion>
      </exclusions>
    </dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
POM
  (cd "$folder" && mvn -B -q org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$folder") >"$FOLDER/install.log" 2>&1 ||
    fail "mvn failed; see $FOLDER/install.log"
  touch "$folder/complete"
}

# Key and certificate for TLS, for the address at which it is reached.
secure() {
  [ ! -e "$FOLDER/keystore.pem" ] || return 0
  openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj '/CN=a test' -addext subjectAltName=IP:127.0.0.1 \
    -keyout "$FOLDER/key.pem" -out "$FOLDER/certificate.pem" 2>"$FOLDER/install.log" ||
    fail "openssl failed; see $FOLDER/install.log"
  cat "$FOLDER/key.pem" "$FOLDER/certificate.pem" >"$FOLDER/keystore.pem"
}

java_of_kafka() { java -Dorg.slf4j.simpleLogger.defaultLogLevel=warn "$@"; }

launch() {
  ! listens "$PORT" || fail "somebody listens on port $PORT already; KAFKA_PORT names another"
  local class_path; class_path="$(libraries)/*"
  local proxied='' advertised='' protocols='' threads='' number
  for ((number = 0; number < PROXIED; number++)); do
    proxied+=",PROXIED$number://127.0.0.1:$((PORT + 10 + number))"
    advertised+=",PROXIED$number://127.0.0.1:$((PORT + 60 + number))"
    protocols+=",PROXIED$number:PLAINTEXT"
    threads+="listener.name.proxied$number.num.network.threads=1"$'\n'
  done
    local scram=()
  if [ -n "${KAFKA_SECURED:-}" ]; then
    secure
    proxied+=",SECURED://127.0.0.1:$((PORT + 3))"
    advertised+=",SECURED://127.0.0.1:$((PORT + 3))"
    protocols+=",SECURED:SASL_SSL"
    local login='org.apache.kafka.common.security.scram.ScramLoginModule required;' mechanism
    threads+="listener.name.secured.sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512"$'\n'
    for mechanism in SCRAM-SHA-256 SCRAM-SHA-512; do
      threads+="listener.name.secured.${mechanism,,}.sasl.jaas.config=$login"$'\n'
      scram+=(--add-scram "$mechanism=[name=eventyard,password=right]")
    done
    threads+="listener.name.secured.ssl.keystore.type=PEM"$'\n'
    threads+="listener.name.secured.ssl.keystore.location=$FOLDER/keystore.pem"$'\n'
  fi
  # One of each partition and no more: there is one node.
  cat >"$FOLDER/server.properties" <<CONF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$((PORT + 2))
listeners=PLAIN://127.0.0.1:$PORT,SASL://127.0.0.1:$((PORT + 1)),CONTROLLER://127.0.0.1:$((PORT + 2))$proxied
advertised.listeners=PLAIN://127.0.0.1:$PORT,SASL://127.0.0.1:$((PORT + 1))$advertised
listener.security.protocol.map=PLAIN:PLAINTEXT,SASL:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT$protocols
${threads}controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAIN
sasl.enabled.mechanisms=PLAIN
listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_eventyard="right";
log.dirs=$FOLDER/data
num.partitions=3
auto.create.topics.enable=false
offsets.topic.num.partitions=3
auto.create.topics.enable=false
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=3
auto.create.topics.enable=false
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=3
auto.create.topics.enable=false
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
CONF
  if [ ! -e "$FOLDER/data/meta.properties" ]; then
    local id
    id=$(java_of_kafka -cp "$class_path" kafka.tools.StorageTool random-uuid 2>/dev/null | tail -n 1)
    java_of_kafka -cp "$class_path" kafka.tools.StorageTool format -t "$id" -c "$FOLDER/server.properties" \
      "${scram[@]}" >"$FOLDER/install.log" 2>&1 || fail "its folder cannot be made; see $FOLDER/install.log"
  fi
  background java -Xms512m -Xmx512m -XX:+UseG1GC -XX:TieredStopAtLevel=1 \
    -Dorg.slf4j.simpleLogger.defaultLogLevel=warn \
    -Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info \
    -Dorg.slf4j.simpleLogger.showDateTime=true -cp "$class_path" kafka.Kafka "$FOLDER/server.properties"
}

answers() { listens "$PORT" && listens $((PORT + 1)) && grep -q 'Kafka Server started' "$FOLDER/log"; }

address() {
  printf 'KAFKA_BROKERS=127.0.0.1:%s\nKAFKA_SASL_BROKERS=127.0.0.1:%s\n' "$PORT" $((PORT + 1))
  [ -z "${KAFKA_SECURED:-}" ] ||
    printf 'KAFKA_SECURED_BROKERS=127.0.0.1:%s\nKAFKA_CERTIFICATE=%s\n' $((PORT + 3)) "$FOLDER/certificate.pem"
}

serve "$@"
