//! Everything that exists, for operators. Knows nothing of how it is shown.

use crate::directory::Directory;
use crate::objects::{Relay, Router};
use tidegate_types::request::{ConsumerDump, Dump, PersonDump, RelayDump, RoomDump};
use tidegate_types::{PersonId, RelayId, RouterId};

impl Directory {
    pub(crate) fn dump(&self) -> Dump {
        Dump {
            shards: self.cluster.rows().to_vec(),
            rooms: self.routers.iter().map(|(id, router)| self.room_dump(*id, router)).collect(),
            relays: self.relays.iter().map(|(id, relay)| relay_dump(*id, relay)).collect(),
            wishes: self.wishes.iter().cloned().collect(),
        }
    }

    fn room_dump(&self, id: RouterId, router: &Router) -> RoomDump {
        RoomDump {
            room: router.room.clone(),
            router: id,
            since_unix_ms: router.since_unix_ms,
            people: router.people.iter().filter_map(|person| self.person_dump(*person)).collect(),
            speakers: self.speakers(&router.speakers.speakers()),
        }
    }

    fn person_dump(&self, id: PersonId) -> Option<PersonDump> {
        let person = self.people.get(&id)?;
        let transport = self.transports.get(&person.transport)?;
        let tracks = transport.producers.iter().filter_map(|id| Some((*id, self.producers.get(id)?)));
        let consumers = transport.consumers.iter().filter_map(|id| Some((*id, self.consumers.get(id)?)));
        Some(PersonDump {
            view: person.view.clone(),
            grant: person.grant.clone(),
            place: transport.place,
            transport: person.transport,
            state: transport.state,
            tracks: tracks
                .filter(|(_, producer)| producer.is_live())
                .map(|(id, producer)| producer.view(id))
                .collect(),
            consumers: consumers
                .map(|(id, consumer)| ConsumerDump {
                    consumer: id,
                    producer: consumer.producer,
                    encoding: consumer.encoding,
                    allowance: consumer.allowance,
                })
                .collect(),
        })
    }
}

fn relay_dump(id: RelayId, relay: &Relay) -> RelayDump {
    RelayDump {
        relay: id,
        producer: relay.producer,
        router: relay.router,
        from: relay.from,
        to: relay.to,
        consumers: u32::try_from(relay.consumers.len()).unwrap_or(u32::MAX),
        source: relay.source.clone(),
        sink: relay.sink.clone(),
    }
}
