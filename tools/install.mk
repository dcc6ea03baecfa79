# make install DESTDIR= PREFIX=: the two programs, a systemd unit, the example policies and the schema. /etc/sluice is
# made and left alone: a policy is the operator's.
SHARE := $(DESTDIR)$(PREFIX)/share
UNITDIR ?= /lib/systemd/system
.PHONY: install uninstall
install: all
	install -D -m 755 $(BUILD)/sluiced $(DESTDIR)$(PREFIX)/sbin/sluiced
	install -D -m 755 $(BUILD)/sluicectl $(DESTDIR)$(PREFIX)/sbin/sluicectl
	install -d -m 755 $(DESTDIR)/etc/sluice $(DESTDIR)$(UNITDIR) $(SHARE)/sluice/policies
	sed 's|@PREFIX@|$(PREFIX)|g' tools/deploy/sluice.service >$(DESTDIR)$(UNITDIR)/sluice.service
	cp -r policies/. $(SHARE)/sluice/policies/
	install -D -m 644 README.md $(SHARE)/doc/sluice/README.md
	install -D -m 644 LICENSE $(SHARE)/doc/sluice/LICENSE
uninstall:
	rm -f $(DESTDIR)$(PREFIX)/sbin/sluiced $(DESTDIR)$(PREFIX)/sbin/sluicectl $(DESTDIR)$(UNITDIR)/sluice.service
	rm -rf $(SHARE)/sluice $(SHARE)/doc/sluice
## make install            DESTDIR= PREFIX=/usr/local UNITDIR=/lib/systemd/system; make uninstall takes it back
