# make install DESTDIR= PREFIX=
.PHONY: install
install: all
	install -D -m 755 $(BUILD)/sluiced $(DESTDIR)$(PREFIX)/sbin/sluiced
	install -D -m 755 $(BUILD)/sluicectl $(DESTDIR)$(PREFIX)/sbin/sluicectl
## make install            DESTDIR= PREFIX=/usr/local
