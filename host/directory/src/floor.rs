//! What places are told of who is loud: which sounds to hold back, and whose pictures come first. Knows nothing of how
//! the loudest are found.

use crate::directory::Directory;
use tidegate_types::command::CommandBody;
use tidegate_types::rtp::ExtensionKind;
use tidegate_types::{MediaKind, PersonId, Place, ProducerId, RouterId};

impl Directory {
    /// A track can be heard from now on. One whose sender tells no level cannot be compared and is always forwarded.
    pub(crate) fn begin_to_hear(&mut self, id: ProducerId) {
        let Some(producer) = self.producers.get(&id) else { return };
        let tells_level = producer.parameters.rtp.extension_id(ExtensionKind::AudioLevel).is_some();
        if producer.parameters.kind == MediaKind::Audio && tells_level {
            let router = producer.router;
            if let Some(router) = self.routers.get_mut(&router) {
                router.loudest.add(id);
            }
            self.settle_loudest(router);
        }
    }

    /// Settles which sounds of a room are forwarded, and tells the places where that changed.
    pub(crate) fn settle_loudest(&mut self, id: RouterId) {
        let Some(router) = self.routers.get_mut(&id) else { return };
        for (producer, hushed) in router.loudest.settle(self.now.instant) {
            self.hush(producer, hushed);
        }
    }

    fn hush(&mut self, producer: ProducerId, hushed: bool) {
        let home = self.place_of_producer(producer);
        // Stand-ins first: they have to know before the numbers jump.
        for place in self.stand_ins(producer).into_iter().chain(home) {
            self.command_quietly(place, CommandBody::HushProducer { producer, hushed });
        }
    }

    /// Tracks stand elsewhere now; what was told while they were on their way may have missed them.
    pub(crate) fn hush_again(&mut self, producers: &[ProducerId], place: Place) {
        for producer in producers.iter().copied() {
            let router =
                self.producers.get(&producer).and_then(|producer| self.routers.get(&producer.router));
            if let Some(router) = router.filter(|router| router.loudest.knows(producer)) {
                let hushed = router.loudest.is_hushed(producer);
                self.command_quietly(place, CommandBody::HushProducer { producer, hushed });
            }
        }
    }

    /// Someone holds the floor: every place of the room puts that person's pictures first.
    pub(crate) fn give_floor(&mut self, id: RouterId, person: PersonId) {
        let Some(router) = self.routers.get_mut(&id) else { return };
        if router.floor.replace(person) == Some(person) {
            return;
        }
        let places: Vec<Place> = router.places.iter().copied().collect();
        let transport = self.people.get(&person).and_then(|person| self.transports.get(&person.transport));
        let tracks = transport.into_iter().flat_map(|transport| &transport.producers);
        let is_picture = |track: &&ProducerId| {
            self.producers.get(*track).is_some_and(|producer| producer.parameters.kind == MediaKind::Video)
        };
        let pictures: Vec<ProducerId> = tracks.filter(is_picture).copied().collect();
        for place in places {
            let pictures = pictures.clone();
            self.command_quietly(place, CommandBody::SetSpeaker { router: id, pictures });
        }
    }
}
